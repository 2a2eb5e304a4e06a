"""Nodes and relationships follow rows and foreign keys: stubs, moves, edges and deletes, as Neo4j's own driver sees them."""

import pytest
from world import World

AUTHORS = """
CREATE TABLE authors (id bigint PRIMARY KEY, name text);
CREATE TABLE documents (
  id bigint PRIMARY KEY, title text,
  author_id bigint REFERENCES authors ON DELETE SET NULL ON UPDATE CASCADE,
  editor_id bigint REFERENCES authors ON DELETE SET NULL ON UPDATE CASCADE);
"""
ATTACHED = """
SELECT apex.attach('authors', graph => apex.graph(label => 'Author', properties => ARRAY['name']));
SELECT apex.attach('documents', graph => apex.graph(label => 'Document', properties => ARRAY['title'],
  relations => ARRAY[apex.relation('AUTHORED_BY', via => 'author_id'), apex.relation('EDITED_BY', via => 'editor_id')]));
"""


@pytest.fixture
def papers(world: World) -> World:
    """Authors and their documents, attached and empty."""
    world.pg.execute(AUTHORS + ATTACHED)
    return world


@pytest.fixture
def unsent(world: World) -> World:
    """The same with two authors who were there before the table was attached, so that no store knows them."""
    world.pg.execute(AUTHORS + "INSERT INTO authors VALUES (1, 'Ann'), (2, 'Bob');" + ATTACHED)
    return world


def send(world: World, *statements: str) -> None:
    """In one transaction, and then in the stores."""
    world.wait_synced(world.commit(*statements))


def without_foreign_keys(world: World, *statements: str) -> None:
    """As a replica applies changes: foreign keys are not looked at, capture goes on."""
    send(world, "SET LOCAL session_replication_role = replica", *statements)


def labelled(world: World, label: str) -> dict[int, dict]:
    """The properties of every node of this label by `id`, versions left out."""
    return {node["id"]: {name: node[name] for name in node if name not in ("id", "_apex_seq")} for node in world.nodes(label)}


# Relationships by foreign key


def test_a_foreign_key_to_a_row_that_was_never_sent_makes_a_stub_that_the_row_fills(unsent: World) -> None:
    send(unsent, "INSERT INTO documents VALUES (10, 'x', 1)")
    assert unsent.node("Author", id=1) == {"id": 1}
    assert unsent.relations("AUTHORED_BY") == {(10, 1)}
    send(unsent, "SELECT apex.refresh('authors', '1')")
    filled = unsent.node("Author", id=1)
    assert filled["name"] == "Ann" and filled["_apex_seq"] > 0
    assert unsent.relations("AUTHORED_BY") == {(10, 1)}


def test_a_stub_goes_when_nothing_points_at_it_any_more(unsent: World) -> None:
    send(unsent, "INSERT INTO documents VALUES (10, 'x', 1), (11, 'y', 1)")
    send(unsent, "UPDATE documents SET author_id = 2 WHERE id = 10")
    assert labelled(unsent, "Author") == {1: {}, 2: {}}
    send(unsent, "DELETE FROM documents WHERE id = 11")
    assert labelled(unsent, "Author") == {2: {}}
    send(unsent, "UPDATE documents SET author_id = NULL")
    assert labelled(unsent, "Author") == {}


def test_a_changed_foreign_key_moves_its_relationship_and_no_other(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann'), (2, 'Bob')")
    send(papers, "INSERT INTO documents VALUES (10, 'x', 1, 1), (11, 'y', 1, NULL)")
    send(papers, "UPDATE documents SET author_id = 2 WHERE id = 10")
    assert papers.relations("AUTHORED_BY") == {(10, 2), (11, 1)}
    assert papers.relations("EDITED_BY") == {(10, 1)}
    assert labelled(papers, "Author") == {1: {"name": "Ann"}, 2: {"name": "Bob"}}


def test_a_foreign_key_set_to_null_takes_its_relationship_away(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann')", "INSERT INTO documents VALUES (10, 'x', 1, 1)")
    send(papers, "UPDATE documents SET editor_id = NULL")
    assert papers.relations("EDITED_BY") == set()
    assert papers.relations("AUTHORED_BY") == {(10, 1)}


def test_a_relationship_carries_the_version_of_the_row_that_owns_it(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann')", "INSERT INTO documents VALUES (10, 'x', 1)")
    found = papers.cypher("MATCH (d:Document)-[r:AUTHORED_BY]->() RETURN d._apex_seq AS row, r._apex_seq AS relationship")
    assert [record["row"] for record in found] == [record["relationship"] for record in found]


def test_relationships_that_others_made_in_the_graph_are_left_alone(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann'), (2, 'Bob')", "INSERT INTO documents VALUES (10, 'x', 1)")
    papers.cypher("MATCH (d:Document {id: 10}), (a:Author {id: 2}) CREATE (d)-[:AUTHORED_BY]->(a), (d)-[:LIKED_BY]->(a)")
    send(papers, "UPDATE documents SET author_id = NULL, title = 'y'")
    assert papers.relations("AUTHORED_BY") == {(10, 2)}
    assert papers.relations("LIKED_BY") == {(10, 2)}


def test_a_row_may_refer_to_its_own_table_and_to_itself(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE topics (id bigint PRIMARY KEY, parent_id bigint REFERENCES topics);
        SELECT apex.attach('topics', graph => apex.graph('Topic', relations => ARRAY[apex.relation('UNDER', via => 'parent_id')]));
    """)
    send(world, "INSERT INTO topics VALUES (1, NULL), (2, 1), (3, 2), (4, 4)")
    assert world.relations("UNDER") == {(2, 1), (3, 2), (4, 4)}
    send(world, "UPDATE topics SET parent_id = 3 WHERE id = 1")
    assert world.relations("UNDER") == {(1, 3), (2, 1), (3, 2), (4, 4)}
    send(world, "DELETE FROM topics WHERE id = 4")
    assert set(labelled(world, "Topic")) == {1, 2, 3}
    send(world, "DELETE FROM topics")
    assert world.nodes("Topic") == []


def test_a_composite_foreign_key_finds_its_composite_node(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE pages (book text, number int, body text, PRIMARY KEY (book, number));
        CREATE TABLE notes (id bigint PRIMARY KEY, book text, number int,
                            FOREIGN KEY (book, number) REFERENCES pages ON UPDATE CASCADE);
        SELECT apex.attach('pages', graph => apex.graph(label => 'Page', properties => ARRAY['body']));
        SELECT apex.attach('notes', graph => apex.graph('Note', relations => ARRAY[apex.relation('ON_PAGE', via => 'book')]));
    """)

    def found() -> list[tuple]:
        query = "MATCH (n:Note)-[:ON_PAGE]->(p:Page) RETURN n.id AS id, p.book AS book, p.number AS number, p.body AS body"
        return sorted(tuple(record.values()) for record in world.cypher(query))

    send(world, "INSERT INTO pages VALUES ('a', 1, 'x'), ('a', 2, 'y')", "INSERT INTO notes VALUES (7, 'a', 1), (8, 'a', NULL)")
    assert found() == [(7, "a", 1, "x")]
    send(world, "UPDATE notes SET number = 2")
    assert found() == [(7, "a", 2, "y"), (8, "a", 2, "y")]
    send(world, "UPDATE pages SET number = 3 WHERE number = 2")
    assert found() == [(7, "a", 3, "y"), (8, "a", 3, "y")]
    assert world.node("Page", book="a", number=2) is None


# Keys and deletes


def test_a_changed_primary_key_is_a_delete_and_an_insert_and_relationships_follow_by_cascade(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann')", "INSERT INTO documents VALUES (10, 'x', 1), (11, 'y', 1)")
    send(papers, "UPDATE authors SET id = 5", "UPDATE documents SET id = 20 WHERE id = 10")
    assert labelled(papers, "Author") == {5: {"name": "Ann"}}
    assert labelled(papers, "Document") == {20: {"title": "x"}, 11: {"title": "y"}}
    assert papers.relations("AUTHORED_BY") == {(20, 5), (11, 5)}


def test_two_rows_that_swap_their_keys_swap_their_nodes(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann'), (2, 'Bob')")
    send(papers, *(f"UPDATE authors SET id = {new} WHERE id = {old}" for old, new in ((1, 3), (2, 1), (3, 2))))
    assert labelled(papers, "Author") == {1: {"name": "Bob"}, 2: {"name": "Ann"}}


def test_on_delete_set_null_leaves_the_documents_without_relationship_and_no_stub(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann')", "INSERT INTO documents VALUES (10, 'x', 1, 1), (11, 'y', 1, NULL)")
    send(papers, "DELETE FROM authors")
    assert labelled(papers, "Document") == {10: {"title": "x"}, 11: {"title": "y"}}
    assert papers.relations("AUTHORED_BY") | papers.relations("EDITED_BY") == set()
    assert papers.nodes("Author") == []


def test_on_delete_cascade_takes_every_node_of_the_tree(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY);
        CREATE TABLE chunks (id bigint PRIMARY KEY, document_id bigint REFERENCES documents ON DELETE CASCADE,
                             next_id bigint REFERENCES chunks ON DELETE CASCADE);
        SELECT apex.attach('documents', graph => apex.graph(label => 'Document'));
        SELECT apex.attach('chunks', aggregate => 'document_id', graph => apex.graph(label => 'Chunk',
          relations => ARRAY[apex.relation('PART_OF', via => 'document_id'), apex.relation('NEXT', via => 'next_id')]));
    """)
    send(world, "INSERT INTO documents VALUES (1), (2)")
    send(world, "INSERT INTO chunks VALUES (13, 1, NULL), (12, 1, 13), (11, 1, 12), (21, 2, NULL)")
    assert world.relations("NEXT") == {(11, 12), (12, 13)}
    send(world, "DELETE FROM documents WHERE id = 1")
    assert set(labelled(world, "Document")) == {2}
    assert set(labelled(world, "Chunk")) == {21}
    assert world.relations("PART_OF") == {(21, 2)} and world.relations("NEXT") == set()


def test_rows_deleted_and_inserted_again_in_one_transaction_keep_what_points_at_them(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE authors (id bigint PRIMARY KEY, name text);
        CREATE TABLE documents (id bigint PRIMARY KEY, author_id bigint REFERENCES authors DEFERRABLE INITIALLY DEFERRED);
        SELECT apex.attach('authors', graph => apex.graph(label => 'Author', properties => ARRAY['name']));
        SELECT apex.attach('documents', graph => apex.graph(label => 'Document',
          relations => ARRAY[apex.relation('AUTHORED_BY', via => 'author_id')]));
    """)
    send(world, "INSERT INTO documents VALUES (10, 1)", "INSERT INTO authors VALUES (1, 'Ann')")
    assert world.relations("AUTHORED_BY") == {(10, 1)}
    send(world, "DELETE FROM authors", "INSERT INTO authors VALUES (1, 'Anna')")
    assert labelled(world, "Author") == {1: {"name": "Anna"}}
    assert world.relations("AUTHORED_BY") == {(10, 1)}


def test_a_delete_leaves_a_stub_while_something_newer_points_at_it_and_the_stub_goes_with_it(papers: World) -> None:
    send(papers, "INSERT INTO authors VALUES (1, 'Ann')")
    without_foreign_keys(papers, "DELETE FROM authors", "INSERT INTO documents VALUES (10, 'newer', 1)")
    assert papers.node("Author", id=1) == {"id": 1}
    assert papers.relations("AUTHORED_BY") == {(10, 1)}
    send(papers, "DELETE FROM documents")
    assert papers.nodes("Author") == [] and papers.nodes("Document") == []


# Join tables


@pytest.fixture
def cited(world: World) -> World:
    """Documents 1 to 3 and an empty table of citations between them."""
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY);
        CREATE TABLE cites (
          id bigint PRIMARY KEY, from_id bigint REFERENCES documents ON DELETE CASCADE,
          to_id bigint REFERENCES documents ON DELETE CASCADE, page int, said_on timestamptz);
        SELECT apex.attach('documents', graph => apex.graph(label => 'Document'));
        SELECT apex.attach('cites', graph => apex.edge('CITES', from_column => 'from_id', to_column => 'to_id',
                                                       properties => ARRAY['page', 'said_on']));
        INSERT INTO documents VALUES (1), (2), (3);
    """)
    return world


def edges(world: World) -> dict[int, tuple]:
    found = world.cypher("MATCH (a)-[r:CITES]->(b) RETURN a.id AS a, b.id AS b, properties(r) AS p")
    assert all(record["p"]["_apex_seq"] > 0 for record in found)
    by_id = {record["p"]["id"]: (record["a"], record["b"], record["p"].get("page")) for record in found}
    assert len(by_id) == len(found), "two relationships of one row"
    return by_id


def test_each_row_of_a_join_table_is_a_relationship_with_its_key_and_properties(cited: World) -> None:
    send(cited, "INSERT INTO cites VALUES (1, 1, 2, 7), (2, 1, 2, 8), (3, 3, 3, NULL), (4, NULL, 2, 9)")
    assert edges(cited) == {1: (1, 2, 7), 2: (1, 2, 8), 3: (3, 3, None)}
    send(cited, "UPDATE cites SET said_on = '2022-02-22 19:22:22+00' WHERE id = 1")
    said = cited.cypher("MATCH ()-[r:CITES {id: 1}]->() RETURN r.said_on AS said")[0]["said"]
    assert said.iso_format().startswith("2022-02-22T19:22:22")
    send(cited, "UPDATE cites SET page = CASE WHEN id = 2 THEN 80 END WHERE id < 3", "UPDATE cites SET from_id = 3 WHERE id = 4")
    assert edges(cited) == {1: (1, 2, None), 2: (1, 2, 80), 3: (3, 3, None), 4: (3, 2, 9)}


def test_a_changed_end_moves_the_relationship_of_a_join_table_and_a_null_takes_it_away(cited: World) -> None:
    send(cited, "INSERT INTO cites VALUES (1, 1, 2, 7), (2, 1, 3, 8)")
    send(cited, "UPDATE cites SET to_id = 3 WHERE id = 1", "UPDATE cites SET from_id = NULL WHERE id = 2")
    assert edges(cited) == {1: (1, 3, 7)}
    send(cited, "UPDATE cites SET from_id = to_id, to_id = from_id WHERE id = 1")
    assert edges(cited) == {1: (3, 1, 7)}


def test_deleted_rows_of_a_join_table_and_of_its_ends_take_their_relationships_along(cited: World) -> None:
    send(cited, "INSERT INTO cites VALUES (1, 1, 2), (2, 2, 3), (3, 3, 1)")
    send(cited, "DELETE FROM cites WHERE id = 1")
    assert edges(cited) == {2: (2, 3, None), 3: (3, 1, None)}
    send(cited, "DELETE FROM documents WHERE id = 3")
    assert edges(cited) == {}
    assert set(labelled(cited, "Document")) == {1, 2}


def test_a_join_table_with_a_composite_key_changes_its_key_with_its_ends(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY);
        INSERT INTO documents VALUES (1), (2), (3);
        CREATE TABLE links (from_id bigint REFERENCES documents, to_id bigint REFERENCES documents, weight float8,
                            PRIMARY KEY (from_id, to_id));
        SELECT apex.attach('documents', graph => apex.graph(label => 'Document'));
        SELECT apex.attach('links', graph => apex.edge('LINKS', from_column => 'from_id', to_column => 'to_id',
                                                       properties => ARRAY['weight']));
    """)

    def found() -> list[tuple]:
        query = "MATCH (a)-[r:LINKS]->(b) RETURN a.id AS a, b.id AS b, r.from_id AS f, r.to_id AS t, r.weight AS w"
        return sorted(tuple(record.values()) for record in world.cypher(query))

    # The documents were there before, so the ends are stubs.
    send(world, "INSERT INTO links VALUES (1, 2, 0.5), (2, 1, 1)")
    assert found() == [(1, 2, 1, 2, 0.5), (2, 1, 2, 1, 1.0)]
    send(world, "UPDATE links SET to_id = 3 WHERE from_id = 1")
    assert found() == [(1, 3, 1, 3, 0.5), (2, 1, 2, 1, 1.0)]
    send(world, "DELETE FROM links")
    assert found() == [] and world.nodes("Document") == []
