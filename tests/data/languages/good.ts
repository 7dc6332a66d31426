declare const process: any, require: any, Buffer: any;
const given: string = require("fs").readFileSync(0, "utf8");
process.stdout.write("hello " + given);
process.stdout.write(Buffer.from([0xff, 10]));
process.stderr.write("said apart\n");
process.exitCode = 7;
