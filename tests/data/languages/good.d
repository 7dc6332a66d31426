import core.thread, std.array, std.process, std.stdio;

int main(string[] words)
{
    if (words.length == 2 && words[1] == "slow")
    {
        spawnProcess(["setsid", "sleep", "1000"]);
        writeln("started");
        stdout.flush();
        Thread.sleep(1000.seconds);
    }
    write("hello ");
    foreach (chunk; stdin.byChunk(4096))
        stdout.rawWrite(chunk);
    stdout.rawWrite([cast(ubyte) 0xff, cast(ubyte) '\n']);
    write(replicate("x", 100_000_000));
    writeln();
    stderr.writeln("said apart");
    return 7;
}
