import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.neo4j.configuration.GraphDatabaseInternalSettings;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.io.ByteUnit;

/** A private Neo4j Community server on loopback, small enough to run beside the tests. See run.sh for its arguments. */
public final class Launcher {
  private Path data;
  private int port = 0;
  private String password = System.getenv("APEX_NEO4J_PASSWORD");

  public static void main(String[] args) {
    try {
      new Launcher(args).run();
    } catch (Exception failed) {
      failed.printStackTrace();
      // The server's own threads would keep the process, and whoever waits for READY, for ever.
      System.exit(1);
    }
  }

  private Launcher(String[] args) {
    for (int i = 0; i < args.length; i += 2) {
      if (i + 1 == args.length) {
        throw new IllegalArgumentException(args[i] + " needs a value");
      }
      switch (args[i]) {
        case "--data" -> data = Path.of(args[i + 1]).toAbsolutePath();
        case "--bolt-port" -> port = Integer.parseInt(args[i + 1]);
        case "--password" -> password = args[i + 1];
        default -> throw new IllegalArgumentException("unknown argument " + args[i]);
      }
    }
    if (data == null) {
      throw new IllegalArgumentException("--data is required");
    }
  }

  private void run() throws Exception {
    if (port == 0) {
      port = freePort();
    }
    boolean authenticate = password != null && !password.isEmpty();
    SocketAddress address = new SocketAddress("127.0.0.1", port);
    DatabaseManagementService server = new DatabaseManagementServiceBuilder(data)
        .setConfig(BoltConnector.enabled, true)
        .setConfig(BoltConnector.listen_address, address)
        .setConfig(BoltConnector.advertised_address, address)
        .setConfig(GraphDatabaseSettings.auth_enabled, authenticate)
        .setConfig(GraphDatabaseSettings.pagecache_memory, ByteUnit.mebiBytes(64))
        // A database otherwise claims a transaction log file of its full size the moment it is made.
        .setConfig(GraphDatabaseSettings.preallocate_logical_logs, false)
        .setConfig(GraphDatabaseSettings.udc_enabled, false)
        // Stopping otherwise listens for late connections for five seconds, twice.
        .setConfig(GraphDatabaseInternalSettings.netty_server_shutdown_quiet_period, 0)
        .build();

    CountDownLatch stopped = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      server.shutdown();
      stopped.countDown();
    }));
    if (authenticate) {
      // ALTER USER would refuse the password that a reopened directory already has.
      server.database("system").executeTransactionally(
          "CREATE OR REPLACE USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED", Map.of("password", password));
    }
    if (!server.database("neo4j").isAvailable(Duration.ofMinutes(2).toMillis())) {
      throw new IllegalStateException("database neo4j did not become available; see " + data.resolve("logs/debug.log"));
    }
    System.out.println("READY bolt://127.0.0.1:" + port);
    System.out.flush();
    stopped.await();
  }

  private static int freePort() throws Exception {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
