const fs = require("fs");

if (process.argv[2] === "slow") {
  require("child_process").spawn("sleep", ["1000"], { detached: true });
  console.log("started");
} else {
  fs.writeSync(1, "hello " + fs.readFileSync(0, "utf8"));
  process.stdout.write(Buffer.from([0xff, 10]));
  process.stdout.write("x".repeat(100_000_000) + "\n");
  process.stderr.write("said apart\n");
  process.exitCode = 7;
}
