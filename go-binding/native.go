//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_take_detail
#cgo noescape pmgo_close
#cgo noescape pmgo_deferred
#cgo noescape pmgo_sync
#cgo noescape pmgo_verify
#cgo noescape pmgo_stats
#cgo noescape pmgo_get
#cgo noescape pmgo_walk_open
#cgo noescape pmgo_walk_next
#cgo noescape pmgo_names
#cgo noescape pmgo_names_take

#cgo nocallback pmgo_take_detail
#cgo nocallback pmgo_close
#cgo nocallback pmgo_deferred
#cgo nocallback pmgo_sync
#cgo nocallback pmgo_verify
#cgo nocallback pmgo_stats
#cgo nocallback pmgo_get
#cgo nocallback pmgo_walk_open
#cgo nocallback pmgo_walk_next
#cgo nocallback pmgo_walk_close
#cgo nocallback pmgo_names
#cgo nocallback pmgo_names_take

#include "native.h"
*/
import "C"

import "unsafe"

// text returns the bytes of s as an argument for C, which reads them during the call only.
func text(s string) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(s)))
}

// size returns the length of s as an argument for C.
func size(s string) C.size_t {
	return C.size_t(len(s))
}

// Records are aligned to words, so buffers are counted in words.
const wordSize = 8

// decodeRecord fills info, which is empty, from the record. Its texts are slices of texts, a copy
// of those of the record.
func decodeRecord(info *DeviceInfo, record *C.pm_record, texts string) {
	name, parent, length := int(record.name_len), int(record.parent_name_len), int(record.error_len)
	decodeNumbers(info, record)
	// A NUL follows each text. Empty texts are not written, which saves the garbage collector a
	// pointer.
	info.Name = texts[:name]
	if parent > 0 {
		info.ParentName = texts[name+1 : name+1+parent]
	}
	if length > 0 {
		info.Error = texts[name+parent+2 : name+parent+2+length]
	}
}

func decodeNumbers(info *DeviceInfo, record *C.pm_record) {
	info.DeviceID = uint32(record.device_id)
	info.Size = uint64(record.size)
	info.State = DeviceState(record.state)
}

// textsOf returns the texts that follow the record, from the name to the end of the error text.
func textsOf(record *C.pm_record) []byte {
	first := (*byte)(unsafe.Add(unsafe.Pointer(record), C.sizeof_pm_record))
	length := int(record.name_len) + int(record.parent_name_len) + int(record.error_len) + 2
	return unsafe.Slice(first, length)
}

// parentOf returns the parent's name from a record's texts.
func parentOf(record *C.pm_record, texts []byte) []byte {
	return texts[int(record.name_len)+1:][:record.parent_name_len]
}

// decode fills info from the record in words, with one allocation, and returns its generation.
func decode(words []C.uint64_t, info *DeviceInfo) uint64 {
	record := (*C.pm_record)(unsafe.Pointer(unsafe.SliceData(words)))
	decodeRecord(info, record, string(textsOf(record)))
	return uint64(record.generation)
}
