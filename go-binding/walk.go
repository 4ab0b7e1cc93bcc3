//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// WalkDevices calls cb for every device, in the byte order of their names, as of one moment. An
// error from cb ends the walk, and WalkDevices returns it.
//
// cb may write to the store; the walk does not see its writes. cb may keep the devices: a few
// hundred share a block of at most 32 KiB, and their texts one of at most 16 KiB unless they are
// very long. To keep a few of many devices for long, copy them, and their texts with
// [strings.Clone]. [PoolMetadata.Devices] costs less.
func (m *PoolMetadata) WalkDevices(_ context.Context, cb func(info *DeviceInfo) error) error {
	const op = "WalkDevices"
	if cb == nil {
		return errNoCallback(op, "walk the devices")
	}
	return m.walk(op, func(w *nativeWalk) error {
		devices := make([]DeviceInfo, min(w.left, chunkLoad))
		w.decode(devices)
		for i := range devices {
			if err := cb(&devices[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Devices returns an iterator over all devices, in the byte order of their names, as of the moment
// when the loop starts. An error is the last thing that it yields, with an empty device. The
// devices are values and allocate nothing but their texts, of which some hundreds share a block.
//
//	for device, err := range store.Devices() {
//		if err != nil {
//			return err
//		}
//		fmt.Println(device.Name)
//	}
func (m *PoolMetadata) Devices() iter.Seq2[DeviceInfo, error] {
	return func(yield func(DeviceInfo, error) bool) {
		var some [32]DeviceInfo
		err := m.walk("Devices", func(w *nativeWalk) error {
			devices := some[:min(w.left, len(some))]
			clear(devices)
			w.decode(devices)
			for i := range devices {
				if !yield(devices[i], nil) {
					return errEnough
				}
			}
			return nil
		})
		if err != nil && err != errEnough {
			yield(DeviceInfo{}, err)
		}
	}
}

// errEnough ends a walk when the caller leaves the loop.
var errEnough = errors.New("enough")

// walk calls show as long as there are devices. Each call decodes one or more of them.
func (m *PoolMetadata) walk(op string, show func(w *nativeWalk) error) error {
	const doing = "walk the devices"
	if !m.calls.enter() {
		return errClosed(op, doing)
	}
	defer m.calls.leave()
	var w nativeWalk
	// Deferred, since a callback may panic or end the goroutine.
	defer w.end()
	err := w.first(m, op, doing)
	for w.left > 0 && err == nil {
		if err := show(&w); err != nil {
			return err
		}
		err = w.next(op, doing)
	}
	return err
}

// pageWords is the size of a walk's pages: 64 KiB.
const pageWords = 64 << 10 / wordSize

// pages are the buffers that walks read into. Callers get copies.
var pages = sync.Pool{New: func() any { return new([pageWords]C.uint64_t) }}

// What a walk allocates at once. For devices it is the runtime's largest size class, less the word
// that the runtime adds to memory with pointers, so that nothing is lost to rounding. The less a
// walk allocates, the less often the garbage collector runs, which costs more than the walk itself.
const (
	chunkLoad = (32<<10 - wordSize) / int(unsafe.Sizeof(DeviceInfo{}))
	textChunk = 16 << 10
)

// nativeWalk is a walk of the library and its current page.
type nativeWalk struct {
	handle C.uintptr_t // 0 after the last page
	then   error       // the error after this page, if there is one
	buffer *[pageWords]C.uint64_t
	page   []C.uint64_t
	at     int    // offset of the next record in the page
	left   int    // how many records are left from that one on
	free   []byte // free bytes for texts
	parent string // the last parent's name, if it is in the chunk of those bytes
}

// first opens the walk and reads its first page. A walk of one page ends with it, so that callbacks
// of small stores run without an open walk.
func (w *nativeWalk) first(m *PoolMetadata, op, doing string) error {
	return w.read(op, doing, func(words []C.uint64_t, reply *C.pmgo_reply) C.int32_t {
		status := C.pmgo_walk_open(m.handle, unsafe.SliceData(words), C.size_t(len(words)*wordSize),
			reply)
		runtime.KeepAlive(m)
		w.handle = reply.handle
		return status
	})
}

// next reads the next page once all devices of this one are decoded. No devices are left after the
// last page.
func (w *nativeWalk) next(op, doing string) error {
	if w.left > 0 {
		return nil
	}
	if w.handle == 0 {
		return w.then
	}
	return w.read(op, doing, w.fetch)
}

func (w *nativeWalk) fetch(words []C.uint64_t, reply *C.pmgo_reply) C.int32_t {
	return C.pmgo_walk_next(w.handle, unsafe.SliceData(words), C.size_t(len(words)*wordSize), reply)
}

// read fetches a page.
func (w *nativeWalk) read(op, doing string, fetch func([]C.uint64_t,
	*C.pmgo_reply) C.int32_t) error {
	if w.buffer == nil {
		w.buffer = pages.Get().(*[pageWords]C.uint64_t)
	}
	words := w.buffer[:]
	for {
		var reply C.pmgo_reply
		switch status := fetch(words, &reply); status {
		case C.PM_OK:
			w.page, w.at, w.left = words, 0, int(reply.count)
			if reply.then != C.PM_OK {
				w.then = failure(reply.then, reply.detail, op, doing)
			}
			return nil
		case C.PM_ERR_BUFFER_TOO_SMALL:
			// A device has a very long error text.
			words = make([]C.uint64_t, reply.size/wordSize)
			fetch = w.fetch
		default:
			return failure(status, reply.detail, op, doing)
		}
	}
}

// decode fills devices, which are empty and at most as many as are left, from the next records of
// the page.
func (w *nativeWalk) decode(devices []DeviceInfo) {
	// Local variables, since each change of a pointer in w would cost a write barrier.
	page, at, free, last := unsafe.Pointer(unsafe.SliceData(w.page)), w.at, w.free, w.parent
	for i := range devices {
		info, record := &devices[i], (*C.pm_record)(unsafe.Add(page, at))
		at += int(record.record_size)
		from := textsOf(record)
		if len(from) > len(free) {
			free, last = make([]byte, w.chunkFor(len(from), w.left-i)), ""
		}
		// Consecutive devices, such as those of one image, often have the same parent.
		shares := last != "" && string(parentOf(record, from)) == last && record.error_len == 0
		if shares {
			from = from[:record.name_len]
		}
		n := copy(free, from)
		// These bytes are never written again.
		texts := unsafe.String(unsafe.SliceData(free), n)
		free = free[n:]
		if shares {
			decodeNumbers(info, record)
			info.Name, info.ParentName = texts, last
			continue
		}
		decodeRecord(info, record, texts)
		last = info.ParentName
	}
	w.at, w.free, w.parent = at, free, last
	w.left -= len(devices)
}

// chunkFor returns how much to allocate for the texts of the last left devices of a page, the first
// of which needs n bytes. The next page uses the rest of a chunk; the last page leaves no rest if
// the texts are equally long.
func (w *nativeWalk) chunkFor(n, left int) int {
	if n > textChunk/4 {
		return n
	}
	if w.handle != 0 {
		return textChunk
	}
	return min(n*left, textChunk)
}

func (w *nativeWalk) end() {
	if w.buffer != nil {
		pages.Put(w.buffer)
		w.buffer = nil
	}
	if w.handle != 0 {
		C.pmgo_walk_close(w.handle)
		w.handle = 0
	}
}

// GetDeviceNames returns the names of all devices, in byte order; nil if there are none.
func (m *PoolMetadata) GetDeviceNames(_ context.Context) ([]string, error) {
	const op, doing = "GetDeviceNames", "list the devices"
	if m.calls.isShut() {
		return nil, errClosed(op, doing)
	}
	var reply C.pmgo_reply
	status := C.pmgo_names(m.handle, &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return nil, failure(status, reply.detail, op, doing)
	}
	// One more byte, so that an empty list has an address too.
	block := make([]byte, reply.size+1)
	C.pmgo_names_take(reply.handle, (*C.char)(unsafe.Pointer(unsafe.SliceData(block))))
	if reply.count == 0 {
		return nil, nil
	}
	names := make([]string, reply.count)
	rest := unsafe.String(unsafe.SliceData(block), len(block))
	for i := range names {
		names[i], rest, _ = strings.Cut(rest, "\x00")
	}
	return names, nil
}
