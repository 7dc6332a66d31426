public class Code {
    public static void main(String[] words) throws Exception {
        if (words.length == 1 && words[0].equals("slow")) {
            new ProcessBuilder("setsid", "sleep", "1000").start();
            System.out.println("started");
            Thread.sleep(1000_000);
        }
        System.out.print("hello ");
        System.in.transferTo(System.out);
        System.out.write(0xff);
        System.out.write('\n');
        byte[] block = "x".repeat(1_000_000).getBytes();
        for (int i = 0; i < 100; i++)
            System.out.write(block);
        System.out.println();
        System.err.println("said apart");
        System.exit(7);
    }
}
