// The events of a transaction that are not in the outbox yet.
//
// Writing an event costs a heap row and two index entries; a block of them costs the same once. So
// events are collected and written when a block is full, at the latest before the transaction
// commits or is prepared, where an ERROR is still only a rollback. Versions are drawn when a block
// is written and not when its events are captured: by then every row in it is locked, so that per
// row they rise in commit order although one draw serves a whole block.
//
// Savepoints: the buffer is a stack of segments, one or more for each level of subtransactions that
// has captured something. Rolling back cuts segments off its end. A subtransaction's own block can
// be written at any time, an outer level's only by a subtransaction that is about to become part of
// that level. Where an inner level has to write first, the outer ones draw their versions before
// it, so that versions follow the order of capture at any depth.
//
// What another extension writes while the transaction commits, after our turn, is written at once.
//
// What is held is below one block for each open level, and one event of any size. The memory is the
// backend's; a transaction's end empties it.
#pragma once

#include "core/event_block.h"
#include "pg/mapping.h"

namespace apex::pg {

/// Adds a record of an event; record->head has its kind, op, command and fields. Says where the
/// fields go, to be filled at once by code that does not raise.
void AppendRecord(const CapturePlan& plan, RecordPlan* record, char* fields[kFieldsMax]);

/// Writes what this (sub)transaction has pending. Returns the version of its last event, 0 when
/// there was none.
int64 WritePending();

/// Writes what is pending once the transaction is past the point where that is done for it. Called
/// at the end of whatever captures.
void WriteIfCommitting();

/// Writes the one event that is pending, with a version that was drawn for it before.
void WritePendingAs(int64 seq);

/// Registers the callbacks. Once per process.
void InitializeOutboxBuffer();

}  // namespace apex::pg
