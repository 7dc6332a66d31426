package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	given, _ := io.ReadAll(os.Stdin)
	fmt.Print("hello ", string(given), "\xff\n")
	fmt.Fprintln(os.Stderr, "said apart")
	os.Exit(7)
}
