package boltfile

import (
	"bytes"
	"io"
	"math/bits"
)

// Page sizes that bbolt looks for.
const (
	minPageSize = 1 << 10
	maxPageSize = 16 << 20
)

// maxDepth is more levels than a tree can have in a file that fits on a disk.
const maxDepth = 64

// checkStructure checks that bbolt can read the file without leaving it or looping: the meta pages,
// every page that can be reached from the root, and the list of free pages. It ignores pages that
// are neither reachable nor free, which bbolt never reads.
func checkStructure(file io.ReaderAt, size int64) error {
	c := checker{file: file, size: uint64(size)}
	m, err := c.newestMeta()
	if err != nil {
		return err
	}
	c.pageSize = uint64(m.pageSize)
	c.pages = m.high
	if c.pages > c.size/c.pageSize {
		return damaged("it is cut short: it has %d bytes of %d pages of %d bytes", c.size, c.pages,
			c.pageSize)
	}
	c.used = make([]bool, c.pages)
	if err := c.freelist(m.freelist); err != nil {
		return err
	}
	return c.tree(m.root, span{}, 0)
}

type checker struct {
	file     io.ReaderAt
	size     uint64
	pageSize uint64
	pages    uint64
	// used marks the pages that are reachable or free.
	used []bool
}

// newestMeta finds the meta page that bbolt would use.
func (c *checker) newestMeta() (meta, error) {
	first, ok := c.metaAt(0)
	pageSize := uint64(first.pageSize)
	for try := uint64(minPageSize); !ok && try <= maxPageSize; try <<= 1 {
		var second meta
		if second, ok = c.metaAt(try); ok {
			pageSize = uint64(second.pageSize)
		}
	}
	if !ok {
		return meta{}, damaged("neither of its meta pages is sound")
	}
	if pageSize < minPageSize || pageSize > maxPageSize || bits.OnesCount64(pageSize) != 1 ||
		c.size < 2*pageSize {
		return meta{}, damaged("it has %d bytes, and pages of %d", c.size, pageSize)
	}
	newest, found := meta{}, false
	for _, at := range []uint64{0, pageSize} {
		m, ok := c.metaAt(at)
		if ok && uint64(m.pageSize) == pageSize && (!found || m.txid > newest.txid) {
			newest, found = m, true
		}
	}
	if !found {
		return meta{}, damaged("neither of its meta pages is sound")
	}
	return newest, nil
}

func (c *checker) metaAt(at uint64) (meta, bool) {
	var head [pageHeaderLen + metaLen]byte
	if _, err := c.file.ReadAt(head[:], int64(at)); err != nil {
		return meta{}, false
	}
	return parseMeta(head[:])
}

// load reads a page and its overflow pages, none of which may be in use elsewhere.
func (c *checker) load(id uint64, what string) (page, error) {
	if id < 2 || id >= c.pages {
		return page{}, damaged("%s is said to be page %d of %d", what, id, c.pages)
	}
	head := page{make([]byte, c.pageSize)}
	if err := c.read(head.bytes, id); err != nil {
		return page{}, err
	}
	if head.id() != id {
		return page{}, damaged("page %d says that it is page %d", id, head.id())
	}
	over := head.overflow()
	if over >= c.pages-id {
		return page{}, damaged("page %d overflows into %d pages, of which there are not as many", id,
			over)
	}
	for i := id; i <= id+over; i++ {
		if c.used[i] {
			return page{}, damaged("page %d is used twice, or is free and used", i)
		}
		c.used[i] = true
	}
	if over == 0 {
		return head, nil
	}
	whole := page{make([]byte, (over+1)*c.pageSize)}
	return whole, c.read(whole.bytes, id)
}

func (c *checker) read(to []byte, id uint64) error {
	if _, err := c.file.ReadAt(to, int64(id*c.pageSize)); err != nil {
		return damaged("page %d cannot be read: %v", id, err)
	}
	return nil
}

func (c *checker) freelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	p, err := c.load(id, "the list of free pages")
	if err != nil {
		return err
	}
	if p.flags() != freelistPage {
		return damaged("page %d is not a list of free pages", id)
	}
	list, count := p.bytes[pageHeaderLen:], uint64(p.count())
	if count == countInFirst {
		count, list = native.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return damaged("page %d lists %d free pages and has no room for them", id, count)
	}
	for ; count > 0; count-- {
		free := native.Uint64(list)
		if free < 2 || free >= c.pages || c.used[free] {
			return damaged("page %d is free and used, free twice, or not one of %d", free, c.pages)
		}
		c.used[free], list = true, list[8:]
	}
	return nil
}

// span is the range of keys that a page may have: from first, and before end if there is one.
type span struct {
	first, end []byte
	bounded    bool
}

func (s span) holds(key []byte) bool {
	return bytes.Compare(key, s.first) >= 0 && (!s.bounded || bytes.Compare(key, s.end) < 0)
}

// tree checks the page and what it points to.
func (c *checker) tree(id uint64, keys span, depth int) error {
	if depth > maxDepth {
		return damaged("page %d is too deep in the tree", id)
	}
	p, err := c.load(id, "a page of the tree")
	if err != nil {
		return err
	}
	switch p.flags() {
	case branchPage:
		return c.branch(p, keys, depth)
	case leafPage:
		return c.leaf(p, keys, depth)
	}
	return damaged("page %d is neither a branch nor a leaf of the tree", id)
}

func (c *checker) branch(p page, keys span, depth int) error {
	if p.count() == 0 {
		return damaged("branch page %d is empty", p.id())
	}
	for i := range p.count() {
		key, child, ok := p.branch(i)
		if !ok || !keys.holds(key) {
			return damaged("element %d of branch page %d is out of place", i, p.id())
		}
		below := span{first: key, end: keys.end, bounded: keys.bounded}
		if i+1 < p.count() {
			if below.end, _, ok = p.branch(i + 1); !ok || bytes.Compare(key, below.end) >= 0 {
				return damaged("elements %d and %d of branch page %d are not in order", i, i+1, p.id())
			}
			below.bounded = true
		}
		if err := c.tree(child, below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leaf(p page, keys span, depth int) error {
	var previous []byte
	for i := range p.count() {
		key, value, flags, ok := p.leaf(i)
		if !ok || !keys.holds(key) || (i > 0 && bytes.Compare(previous, key) >= 0) {
			return damaged("element %d of leaf page %d is out of place", i, p.id())
		}
		previous = key
		switch flags {
		case 0:
		case bucketElement:
			if err := c.bucket(value, depth+1); err != nil {
				return err
			}
		default:
			return damaged("element %d of leaf page %d is of an unknown kind", i, p.id())
		}
	}
	return nil
}

func (c *checker) bucket(value []byte, depth int) error {
	if len(value) < bucketHeaderLen {
		return damaged("a bucket has %d bytes", len(value))
	}
	if root := native.Uint64(value); root != 0 {
		return c.tree(root, span{}, depth)
	}
	// A small bucket has its only page in its value.
	inline := page{value[bucketHeaderLen:]}
	if len(inline.bytes) < pageHeaderLen || inline.flags() != leafPage || inline.id() != 0 ||
		depth > maxDepth {
		return damaged("a bucket's own page is not sound")
	}
	return c.leaf(inline, span{}, depth)
}
