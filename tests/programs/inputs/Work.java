// Work.java - Allocation by many threads, compression and direct buffers: heap of the VM and malloc alike.
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import java.util.zip.*;

public class Work {
  record Node(int id, String name, List<Node> children) {}

  static Node tree(int depth, int id) {
    var children = new ArrayList<Node>();
    for (int i = 0; depth > 0 && i < 4; i++) children.add(tree(depth - 1, id * 4 + i));
    return new Node(id, "node-" + id, children);
  }

  static long sum(Node n) { return n.id + n.name.hashCode() % 1000 + n.children.stream().mapToLong(Work::sum).sum(); }

  static long work(int seed) throws Exception {
    var random = new Random(seed);
    var table = new HashMap<String, byte[]>();
    var bytes = new byte[200_000];
    long total = 0;
    for (int round = 0; round < 12; round++) {
      for (int i = 0; i < 10_000; i++) table.put(Integer.toString(random.nextInt(8000), 36), new byte[random.nextInt(300)]);
      for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) (random.nextInt(9) * i >> 3);
      var deflater = new Deflater(round % 10);
      deflater.setInput(bytes);
      deflater.finish();
      var packed = new byte[400_000];
      int packed_size = deflater.deflate(packed);
      deflater.end();
      var inflater = new Inflater();
      inflater.setInput(packed, 0, packed_size);
      total += inflater.inflate(new byte[bytes.length]) == bytes.length ? packed_size : -1_000_000_000;
      inflater.end();
      var direct = ByteBuffer.allocateDirect(100_000 + random.nextInt(1_000_000));
      direct.put(bytes, 0, 100_000).flip();
      var crc = new CRC32();
      crc.update(direct);
      total += crc.getValue();
    }
    return total + table.values().stream().mapToLong(b -> b.length).sum() + sum(tree(7, seed));
  }

  public static void main(String[] arguments) throws Exception {
    var pool = Executors.newFixedThreadPool(8);
    var futures = IntStream.range(0, 16).mapToObj(i -> pool.submit(() -> work(i))).toList();
    for (var future : futures) System.out.println(future.get());
    pool.shutdown();
    for (int i = 0; i < 300; i++) { var t = new Thread(() -> tree(3, 1)); t.start(); t.join(); }
    System.out.println(IntStream.range(0, 300_000).parallel().mapToObj(i -> "s" + i % 977).collect(Collectors.toCollection(TreeSet::new)).size());
  }
}
