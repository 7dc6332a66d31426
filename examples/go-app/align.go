package main

import (
	"strings"

	"github.com/rivo/uniseg"
)

// align pads the fields of every row to columns, by their width on a terminal.
func align(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for column, field := range row {
			if column == len(widths) {
				widths = append(widths, 0)
			}
			widths[column] = max(widths[column], uniseg.StringWidth(field))
		}
	}
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		var line strings.Builder
		for column, field := range row {
			line.WriteString(field)
			if column < len(row)-1 {
				gap := widths[column] - uniseg.StringWidth(field) + 2
				line.WriteString(strings.Repeat(" ", gap))
			}
		}
		lines = append(lines, line.String())
	}
	return lines
}
