"""Rows that come and go with their partition, in every store."""

from world import World

VISITS = """
    CREATE TABLE visits (id bigint, day date, note text, embedding real[], PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE visits_01 PARTITION OF visits FOR VALUES FROM ('2022-01-01') TO ('2022-02-01');
    CREATE TABLE visits_02 PARTITION OF visits FOR VALUES FROM ('2022-02-01') TO ('2022-03-01');
    SELECT apex.attach('visits',
      graph => apex.graph(label => 'Visit', properties => ARRAY['note']),
      vector => apex.vector(collection => 'visits', embedding => 'embedding', dimensions => 2, payload => ARRAY['note']),
      cache => apex.cache(entity => 'visit', mode => 'write', entry => 'visit:{id}:{day}', ttl => '1 hour'));
    INSERT INTO visits SELECT n, day, 'of ' || day, '{1,2}' FROM generate_series(1, 20) n, (VALUES (date '2022-01-05'), ('2022-02-05')) days(day);
"""


def held(world: World) -> tuple[int, int, int]:
    """How many visits each store has."""
    nodes, points = len(world.nodes("Visit")), world.qdrant.count("visits", exact=True).count
    return nodes, points, len(list(world.redis.scan_iter("visit:*")))


def test_a_dropped_partition_leaves_every_store_and_one_that_is_attached_comes_into_each(world: World) -> None:
    world.pg.execute(VISITS)
    world.wait_synced()
    assert held(world) == (40, 40, 40)
    world.sql("DROP TABLE visits_01")
    world.wait_synced()
    assert held(world) == (20, 20, 20)
    assert {node["note"] for node in world.nodes("Visit")} == {"of 2022-02-05"}

    world.sql("CREATE TABLE visits_03 (LIKE visits INCLUDING DEFAULTS)")
    world.sql("INSERT INTO visits_03 SELECT n, '2022-03-05', 'came along', '{3,4}' FROM generate_series(1, 5) n")
    world.sql("ALTER TABLE visits ATTACH PARTITION visits_03 FOR VALUES FROM ('2022-03-01') TO ('2022-04-01')")
    world.wait_synced()
    assert held(world) == (25, 25, 25)
    world.sql("ALTER TABLE visits DETACH PARTITION visits_03")
    world.sql("UPDATE visits SET note = 'still here'")
    world.wait_synced()
    assert held(world) == (20, 20, 20)
    assert {node["note"] for node in world.nodes("Visit")} == {"still here"}
    assert world.parked() == []
