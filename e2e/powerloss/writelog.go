package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// The format that the kernel's dm-log-writes writes: a super block in the first sector, then one
// entry after the other. An entry is a header that fills a sector, and the data.
const (
	logMagic   = 0x6a736677736872
	logVersion = 1

	// sectorUnit is the unit of positions and lengths in the headers, whatever a sector's size.
	sectorUnit = 512
	headerSize = 32
)

// The flags of an entry.
const (
	flagFlush   = 1 << 0
	flagFUA     = 1 << 1
	flagDiscard = 1 << 2
	flagMark    = 1 << 3
)

// entry is one request that the device completed, or a mark.
type entry struct {
	flags uint64
	// offset and length are the place on the device that was written or discarded, in bytes.
	offset, length int64
	// data is where in the log the written bytes are.
	data int64
	// mark is the text of a mark.
	mark string
}

// durable says that the entry, and everything before it in the log, is on stable storage once it
// has completed: the kernel logs a write when a flush has made it durable, or if it has FUA.
func (e *entry) durable() bool { return e.flags&(flagFlush|flagFUA) != 0 }

// readLog reads the headers of a log.
func readLog(log io.ReaderAt) ([]entry, error) {
	super := make([]byte, 28)
	if _, err := log.ReadAt(super, 0); err != nil {
		return nil, fmt.Errorf("the super block of the log: %w", err)
	}
	le := binary.LittleEndian
	if magic, version := le.Uint64(super), le.Uint64(super[8:]); magic != logMagic ||
		version != logVersion {
		return nil, fmt.Errorf("not a log of dm-log-writes, or of another version: %#x, %d", magic,
			version)
	}
	count, sector := le.Uint64(super[16:]), int64(le.Uint32(super[24:]))
	if sector < sectorUnit || sector > 1<<16 || sector%sectorUnit != 0 {
		return nil, fmt.Errorf("the log's sectors have %d bytes", sector)
	}
	var entries []entry
	header := make([]byte, sector)
	at := sector
	for n := range count {
		if _, err := log.ReadAt(header, at); err != nil {
			return nil, fmt.Errorf("entry %d of %d of the log: %w", n, count, err)
		}
		at += sector
		start, sectors := le.Uint64(header), le.Uint64(header[8:])
		flags, extra := le.Uint64(header[16:]), le.Uint64(header[24:])
		if start > math.MaxInt64/sectorUnit || sectors > math.MaxInt64/sectorUnit {
			return nil, fmt.Errorf("entry %d of the log is at sector %d, for %d", n, start, sectors)
		}
		e := entry{flags: flags, offset: int64(start) * sectorUnit,
			length: int64(sectors) * sectorUnit, data: at}
		if flags&flagMark != 0 {
			if extra > uint64(sector-headerSize) {
				return nil, fmt.Errorf("entry %d of the log is a mark of %d bytes", n, extra)
			}
			e.mark = string(header[headerSize : headerSize+extra])
		}
		if flags&flagDiscard == 0 {
			at += e.length
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// apply does an entry's write on an image of the device.
func (e *entry) apply(log io.ReaderAt, image io.WriterAt) error {
	switch {
	case e.flags&flagMark != 0 || e.length == 0:
		return nil
	case e.flags&flagDiscard != 0:
		// What a discarded block reads as is up to the device. Other bytes than before are the
		// harder case.
		return fill(image, e.offset, e.length)
	}
	data := make([]byte, e.length)
	if _, err := log.ReadAt(data, e.data); err != nil {
		return fmt.Errorf("the data of a write of %d bytes: %w", e.length, err)
	}
	_, err := image.WriteAt(data, e.offset)
	return err
}

// fill writes zeroes.
func fill(image io.WriterAt, offset, length int64) error {
	zeroes := make([]byte, min(length, 1<<20))
	for length > 0 {
		n := min(length, int64(len(zeroes)))
		if _, err := image.WriteAt(zeroes[:n], offset); err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

// cut is a moment at which the power may fail: the number of entries that are durable then.
type cut struct {
	entries int
	// next is the number of entries up to the following cut: the writes in between may be durable
	// too, any of them without the others.
	next int
}

// cuts returns every moment after a flush, a FUA write or another mark, from a mark on. At a mark,
// nothing more has become durable, but more has been acknowledged.
func cuts(entries []entry, from string) ([]cut, error) {
	started := false
	var all []cut
	for i := range entries {
		if entries[i].mark == from {
			started = true
			continue
		}
		if !started || !entries[i].durable() && entries[i].flags&flagMark == 0 {
			continue
		}
		if len(all) > 0 {
			all[len(all)-1].next = i + 1
		}
		all = append(all, cut{entries: i + 1, next: len(entries)})
	}
	if len(all) == 0 {
		return nil, errors.New("the log has nothing after its mark")
	}
	return all, nil
}
