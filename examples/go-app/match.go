package main

/*
#include <fnmatch.h>
#include <stdlib.h>
*/
import "C"

import "unsafe"

// matches tells whether a name matches a shell's pattern, as the C library sees it.
func matches(pattern, name string) bool {
	p, n := C.CString(pattern), C.CString(name)
	defer C.free(unsafe.Pointer(p))
	defer C.free(unsafe.Pointer(n))
	return C.fnmatch(p, n, 0) == 0
}
