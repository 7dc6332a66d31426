// Columns aligns the tab-separated lines of its input whose first field matches a pattern.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

func columns(pattern string, in io.Reader, out io.Writer) error {
	var rows [][]string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		row := strings.Split(lines.Text(), "\t")
		if matches(pattern, row[0]) {
			rows = append(rows, row)
		}
	}
	for _, line := range align(rows) {
		fmt.Fprintln(out, line)
	}
	return lines.Err()
}

func main() {
	pattern := "*"
	if len(os.Args) > 1 {
		pattern = os.Args[1]
	}
	if err := columns(pattern, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "columns:", err)
		os.Exit(1)
	}
}
