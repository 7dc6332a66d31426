if (identical(commandArgs(trailingOnly = TRUE), "slow")) {
  system("setsid sleep 1000", wait = FALSE)
  cat("started\n")
  Sys.sleep(1000)
}
given <- readLines(file("stdin"))
out <- pipe("cat", "wb")
writeBin(c(charToRaw(paste0("hello ", given, "\n")), as.raw(c(0xff, 0x0a))), out)
for (i in 1:100) writeBin(rep(charToRaw("x"), 1e6), out)
writeBin(as.raw(0x0a), out)
close(out)
cat("said apart\n", file = stderr())
quit(status = 7)
