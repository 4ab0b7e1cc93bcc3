//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_take_detail
#cgo noescape pmgo_open
#cgo noescape pmgo_close
#cgo noescape pmgo_sync
#cgo noescape pmgo_verify
#cgo noescape pmgo_stats
#cgo noescape pmgo_add
#cgo noescape pmgo_get
#cgo noescape pmgo_change_state
#cgo noescape pmgo_mark_faulty
#cgo noescape pmgo_remove
#cgo noescape pmgo_update_begin
#cgo noescape pmgo_update_read
#cgo noescape pmgo_update_commit
#cgo noescape pmgo_walk_open
#cgo noescape pmgo_walk_next
#cgo noescape pmgo_names
#cgo noescape pmgo_names_take

#cgo nocallback pmgo_take_detail
#cgo nocallback pmgo_open
#cgo nocallback pmgo_close
#cgo nocallback pmgo_sync
#cgo nocallback pmgo_verify
#cgo nocallback pmgo_stats
#cgo nocallback pmgo_add
#cgo nocallback pmgo_get
#cgo nocallback pmgo_change_state
#cgo nocallback pmgo_mark_faulty
#cgo nocallback pmgo_remove
#cgo nocallback pmgo_update_begin
#cgo nocallback pmgo_update_read
#cgo nocallback pmgo_update_commit
#cgo nocallback pmgo_update_abort
#cgo nocallback pmgo_walk_open
#cgo nocallback pmgo_walk_next
#cgo nocallback pmgo_walk_close
#cgo nocallback pmgo_names
#cgo nocallback pmgo_names_take

#include "native.h"
*/
import "C"

import (
	"sync"
	"unsafe"
)

// text returns the bytes of s as an argument for C, which reads them during the call only.
func text(s string) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(s)))
}

// size returns the length of s as an argument for C.
func size(s string) C.size_t {
	return C.size_t(len(s))
}

// A record's place is a multiple of its alignment, so buffers are counted in words.
const wordSize = 8

// pageWords is the size of a walk's pages: 64 KiB.
const pageWords = 64 << 10 / wordSize

// pages are the buffers that walks read into. What a caller gets is copied out of them.
var pages = sync.Pool{New: func() any { return new([pageWords]C.uint64_t) }}

// decode turns the record at the start of words into info, and returns its generation and its size in words. If texts
// is not empty, it is a copy of words from there on, and info's strings are parts of it.
func decode(words []C.uint64_t, texts string, info *DeviceInfo) (generation uint64, used int) {
	record := (*C.pm_record)(unsafe.Pointer(unsafe.SliceData(words)))
	name := int(record.name_len)
	parent := name + 1 + int(record.parent_name_len)
	end := parent + 1 + int(record.error_len)
	if texts == "" {
		start := (*byte)(unsafe.Add(unsafe.Pointer(record), C.sizeof_pm_record))
		texts = string(unsafe.Slice(start, end))
	} else {
		texts = texts[C.sizeof_pm_record:]
	}
	*info = DeviceInfo{
		DeviceID:   uint32(record.device_id),
		Size:       uint64(record.size),
		State:      DeviceState(record.state),
		Name:       texts[:name],
		ParentName: texts[name+1 : parent],
		Error:      texts[parent+1 : end],
	}
	return uint64(record.generation), int(record.record_size) / wordSize
}

// decodePage turns a page of records into devices with two allocations, however many they are.
func decodePage(words []C.uint64_t, count int) []DeviceInfo {
	if count == 0 {
		return nil
	}
	texts := string(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*wordSize))
	devices := make([]DeviceInfo, count)
	at := 0
	for i := range devices {
		_, used := decode(words[at:], texts[at*wordSize:], &devices[i])
		at += used
	}
	return devices
}
