declare const process: any, require: any, Buffer: any;

const slow: boolean = process.argv[2] === "slow";
if (slow) {
  require("child_process").spawn("sleep", ["1000"], { detached: true });
  console.log("started");
} else {
  const given: string = require("fs").readFileSync(0, "utf8");
  process.stdout.write("hello " + given);
  process.stdout.write(Buffer.from([0xff, 10]));
  process.stdout.write("x".repeat(100_000_000) + "\n");
  process.stderr.write("said apart\n");
  process.exitCode = 7;
}
