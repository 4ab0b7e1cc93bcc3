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
	"unsafe"
)

// WalkDevices calls cb for every device, by name in byte order, as the store was at one moment. An error from cb ends
// the walk and comes back as it is.
//
// cb may write to the store; the walk does not see what it writes. It may keep what it is given: devices come in pages
// of several hundred that share their memory, so that who keeps a few of many for long should copy them with
// [strings.Clone].
func (m *PoolMetadata) WalkDevices(_ context.Context, cb func(info *DeviceInfo) error) error {
	const op = "WalkDevices"
	if cb == nil {
		return errNoCallback(op, "walk the devices")
	}
	return m.walk(op, cb)
}

// Devices returns an iterator over what WalkDevices walks over. The moment it shows is that of the loop's start. A
// failure is the last thing it yields, with a nil device.
//
//	for device, err := range store.Devices() {
//		if err != nil {
//			return err
//		}
//		fmt.Println(device.Name)
//	}
func (m *PoolMetadata) Devices() iter.Seq2[*DeviceInfo, error] {
	return func(yield func(*DeviceInfo, error) bool) {
		enough := errors.New("enough")
		err := m.walk("Devices", func(info *DeviceInfo) error {
			if !yield(info, nil) {
				return enough
			}
			return nil
		})
		if err != nil && err != enough {
			yield(nil, err)
		}
	}
}

func (m *PoolMetadata) walk(op string, cb func(info *DeviceInfo) error) error {
	const doing = "walk the devices"
	if !m.calls.enter() {
		return errClosed(op, doing)
	}
	defer m.calls.leave()
	var w nativeWalk
	// Also when cb does not return.
	defer w.end()
	devices, err := w.first(m, op, doing)
	for len(devices) > 0 && err == nil {
		for i := range devices {
			if err := cb(&devices[i]); err != nil {
				return err
			}
		}
		devices, err = w.next(op, doing)
	}
	return err
}

// nativeWalk is a walk that is open, or 0.
type nativeWalk struct {
	handle C.uintptr_t
}

// first opens the walk and returns its first page. A walk of one page is over by then, so that small stores are not
// held open while callbacks run.
func (w *nativeWalk) first(m *PoolMetadata, op, doing string) ([]DeviceInfo, error) {
	return w.page(op, doing, func(words []C.uint64_t, reply *C.pmgo_reply) C.int32_t {
		status := C.pmgo_walk_open(m.handle, unsafe.SliceData(words), C.size_t(len(words)*wordSize), reply)
		runtime.KeepAlive(m)
		w.handle = reply.handle
		return status
	})
}

// next returns the next page, which is empty after the last device.
func (w *nativeWalk) next(op, doing string) ([]DeviceInfo, error) {
	if w.handle == 0 {
		return nil, nil
	}
	return w.page(op, doing, w.fetch)
}

func (w *nativeWalk) fetch(words []C.uint64_t, reply *C.pmgo_reply) C.int32_t {
	return C.pmgo_walk_next(w.handle, unsafe.SliceData(words), C.size_t(len(words)*wordSize), reply)
}

// page fetches a page and takes the devices out of it.
func (w *nativeWalk) page(
	op, doing string, fetch func([]C.uint64_t, *C.pmgo_reply) C.int32_t,
) ([]DeviceInfo, error) {
	pooled := pages.Get().(*[pageWords]C.uint64_t)
	defer pages.Put(pooled)
	words := pooled[:]
	for {
		var reply C.pmgo_reply
		switch status := fetch(words, &reply); status {
		case C.PM_OK:
			return decodePage(words[:reply.size/wordSize], int(reply.count)), nil
		case C.PM_ERR_BUFFER_TOO_SMALL:
			// A device with a very long error text.
			words = make([]C.uint64_t, reply.size/wordSize)
			fetch = w.fetch
		default:
			return nil, failure(status, reply.detail, op, doing)
		}
	}
}

func (w *nativeWalk) end() {
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
	// One byte more than the names have, so that an empty list has an address too.
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
