import std.stdio;

int main()
{
    write("hello ");
    foreach (chunk; stdin.byChunk(4096))
        stdout.rawWrite(chunk);
    stdout.rawWrite([cast(ubyte) 0xff, cast(ubyte) '\n']);
    stderr.writeln("said apart");
    return 7;
}
