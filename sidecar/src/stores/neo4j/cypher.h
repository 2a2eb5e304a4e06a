// The statements of a mapping, written once and sent with different rows.
//
// Names are back-quoted, values are parameters. Each statement unwinds `$rows`, a list of maps
// whose members are
//   k  the row's key values            a, b  versions it may replace: those above a, up to b
//   s  the version it leaves behind    p     mapped properties, nulls included
//   f, t  key values of the node a relationship comes from and goes to; of RelateNodes a list
//         of them
// and returns how many rows it went through, which must be how many were sent (rule E11). Rows of
// one statement have distinct keys. Pure functions.
//
// A node is found by its key and changed only where the version it holds is in (a, b] or there is
// none (a stub). What else other applications put on a node or beside it is left alone: mapped
// properties are set one by one, a NULL removes its property, and only relationships with an
// `_apex_seq` are ours. A stub that carries nothing but its key and has no relationship left is
// deleted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/mapping.h"

namespace apex::neo4j {

/// A name for use in Cypher: in back-quotes, those inside doubled.
std::string Quote(std::string_view name);

/// All foreign keys of a table that make relationships of one type to one label: they are made true
/// together, since none of the relationships tells which column it came from.
struct RelationGroup {
  std::string type;
  std::string label;
  std::vector<std::string> key;
  std::vector<std::vector<std::string>> foreign_keys;  ///< Columns of each.
};
std::vector<RelationGroup> GroupRelations(const NodeMapping& node);

/// Rows of k, a, b, s, p.
std::string UpsertNodes(const std::string& label, const std::vector<std::string>& key);
/// Rows of k, a, b, s: takes the mapped properties off the nodes of deleted rows and marks them
/// with s for the statements that follow. Makes no node.
std::string ClearNodes(const std::string& label, const std::vector<std::string>& key,
                       const std::vector<std::string>& properties);
/// Rows of k, s: what ClearNodes marked is deleted, or stays as a stub where relationships point at
/// it.
std::string EraseNodes(const std::string& label, const std::vector<std::string>& key);
/// Rows of k, s: takes away every relationship of nodes at version s, which ClearNodes marked.
std::string PruneRelations(const std::string& label, const std::vector<std::string>& key,
                           const RelationGroup& group);
/// Rows of k, s, t (a list of keys): the relationships of nodes at version s lead to the nodes of
/// t, made stubs where they are missing, and to no others. Of nodes that are there: UpsertNodes ran
/// before. One statement for both, since finding a node is what most of a relationship costs.
std::string RelateNodes(const std::string& label, const std::vector<std::string>& key,
                        const RelationGroup& group);

/// Rows of k, a, b, f, t: takes away a join row's relationship unless it goes from f to t already.
std::string UnlinkEdges(const EdgeMapping& edge, const std::vector<std::string>& key);
/// Rows of k, a, b, s, f, t, p: a join row's relationship, its ends made stubs where they are
/// missing.
std::string PutEdges(const EdgeMapping& edge, const std::vector<std::string>& key);

/// Parameters seq, limit; returns how many rows it took away, which are all there are when they are
/// fewer than the limit. What EraseNodes and PruneRelations do, for every node of a lower version.
std::string TruncateNodes(const std::string& label, const std::vector<std::string>& key,
                          const std::vector<std::string>& properties,
                          const std::vector<RelationGroup>& groups);
/// The same for a join table's relationships.
std::string TruncateEdges(const EdgeMapping& edge);

/// Parameters name, position, epoch, claim. Makes the pipeline's node, takes its write lock for the
/// rest of the transaction and fails unless epoch and claim still lead (claim 0: whichever does,
/// for a program that works beside the leader).
std::string_view CheckFence();
/// Parameters name, epoch, claim. Makes them the ones that lead; fails where a newer epoch does.
std::string_view ClaimFence();

/// Constraints and indexes that the mapping's statements rely on, each safe to run twice.
std::vector<std::string> SchemaOf(const TableMapping& mapping);
std::string_view PipelineConstraint();

}  // namespace apex::neo4j
