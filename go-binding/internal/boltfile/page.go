package boltfile

import (
	"encoding/binary"
	"hash/fnv"
	"math"
)

// The layout of bbolt's pages, format 2. Numbers are in the byte order of the machine.
const (
	pageHeaderLen    = 16
	branchElementLen = 16
	leafElementLen   = 16
	bucketHeaderLen  = 16
	metaLen          = 64
	metaSumAt        = 56

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketElement = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = math.MaxUint64
	// countInFirst, as a freelist's count, says that the first number of the list is the count
	// itself.
	countInFirst = 0xFFFF
)

var native = binary.NativeEndian

// meta is one of the two meta pages.
type meta struct {
	pageSize uint32
	root     uint64
	freelist uint64
	// high is the number of pages in use; the pages after them have no meaning.
	high uint64
	txid uint64
}

// parseMeta returns false for bytes that bbolt would not accept as a meta page.
func parseMeta(page []byte) (meta, bool) {
	if len(page) < pageHeaderLen+metaLen {
		return meta{}, false
	}
	bytes := page[pageHeaderLen:]
	sum := fnv.New64a()
	sum.Write(bytes[:metaSumAt])
	if native.Uint32(bytes) != boltMagic || native.Uint32(bytes[4:]) != boltVersion ||
		native.Uint64(bytes[metaSumAt:]) != sum.Sum64() {
		return meta{}, false
	}
	return meta{
		pageSize: native.Uint32(bytes[8:]),
		root:     native.Uint64(bytes[16:]),
		freelist: native.Uint64(bytes[32:]),
		high:     native.Uint64(bytes[40:]),
		txid:     native.Uint64(bytes[48:]),
	}, true
}

// page is a page with its overflow pages, or a page inside a bucket's value.
type page struct {
	bytes []byte
}

func (p page) id() uint64       { return native.Uint64(p.bytes) }
func (p page) flags() uint16    { return native.Uint16(p.bytes[8:]) }
func (p page) count() int       { return int(native.Uint16(p.bytes[10:])) }
func (p page) overflow() uint64 { return uint64(native.Uint32(p.bytes[12:])) }

// part returns size bytes of the page, which begin from bytes after at, if the page has them.
func (p page) part(at int, from, size uint32) ([]byte, bool) {
	start := uint64(at) + uint64(from)
	end := start + uint64(size)
	if end > uint64(len(p.bytes)) {
		return nil, false
	}
	return p.bytes[start:end], true
}

// branch returns the key and the child of a branch page's element.
func (p page) branch(i int) (key []byte, child uint64, ok bool) {
	at := pageHeaderLen + i*branchElementLen
	element, ok := p.part(at, 0, branchElementLen)
	if !ok {
		return nil, 0, false
	}
	key, ok = p.part(at, native.Uint32(element), native.Uint32(element[4:]))
	return key, native.Uint64(element[8:]), ok
}

// leaf returns the key and the value of a leaf page's element, and its flags.
func (p page) leaf(i int) (key, value []byte, flags uint32, ok bool) {
	at := pageHeaderLen + i*leafElementLen
	element, ok := p.part(at, 0, leafElementLen)
	if !ok {
		return nil, nil, 0, false
	}
	from, keyLen, valueLen := native.Uint32(element[4:]), native.Uint32(element[8:]),
		native.Uint32(element[12:])
	key, ok = p.part(at, from, keyLen)
	if !ok {
		return nil, nil, 0, false
	}
	value, ok = p.part(at+int(keyLen), from, valueLen)
	return key, value, native.Uint32(element), ok
}
