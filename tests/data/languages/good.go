package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "slow" {
		syscall.ForkExec("/usr/bin/setsid", []string{"setsid", "sleep", "1000"}, nil)
		fmt.Println("started")
		time.Sleep(1000 * time.Second)
	}
	given, _ := io.ReadAll(os.Stdin)
	fmt.Print("hello ", string(given), "\xff\n")
	os.Stdout.Write(bytes.Repeat([]byte("x"), 100_000_000))
	fmt.Println()
	fmt.Fprintln(os.Stderr, "said apart")
	os.Exit(7)
}
