public class Code {
    public static void main(String[] words) throws Exception {
        System.out.print("hello ");
        System.in.transferTo(System.out);
        System.out.write(0xff);
        System.out.write('\n');
        System.out.flush();
        System.err.println("said apart");
        System.exit(7);
    }
}
