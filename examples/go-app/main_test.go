package main

import (
	"strings"
	"testing"
)

func TestColumns(t *testing.T) {
	for _, test := range []struct{ pattern, in, out string }{
		{"*", "a\tb\nlong\tc\n", "a     b\nlong  c\n"},
		{"*", "語\tb\nab\tc\n", "語  b\nab  c\n"},
		{"*", "a\tb\tc\na\n", "a  b  c\na\n"},
		{"[ab]*", "ax\t1\nbx\t2\ncx\t3\n", "ax  1\nbx  2\n"},
		{"none", "a\tb\n", ""},
	} {
		var out strings.Builder
		if err := columns(test.pattern, strings.NewReader(test.in), &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != test.out {
			t.Errorf("columns(%q, %q) = %q, not %q", test.pattern, test.in, out.String(), test.out)
		}
	}
}

func TestALineThatIsTooLong(t *testing.T) {
	line := strings.NewReader(strings.Repeat("x", 1<<17))
	if err := columns("*", line, &strings.Builder{}); err == nil {
		t.Error("there is no error")
	}
}
