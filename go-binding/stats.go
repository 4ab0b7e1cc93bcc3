//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"math"
	"time"
)

// Stats are counts and sizes of a store at one moment.
type Stats struct {
	Devices      uint64 `json:"devices"`        // devices in the store
	TakenIDs     uint64 `json:"taken_ids"`      // ids that devices have and that are not faulty
	FreeIDs      uint64 `json:"free_ids"`       // ids that can be assigned again
	FaultyIDs    uint64 `json:"faulty_ids"`     // faulty ids, with or without a device
	LastID       uint64 `json:"last_id"`        // highest id ever assigned; 0 for none
	Commits      uint64 `json:"commits"`        // number of the newest commit
	MapSize      uint64 `json:"map_size"`       // size of this process's memory map in bytes
	MapUsed      uint64 `json:"map_used"`       // bytes up to the end of the last page in use
	FileSize     uint64 `json:"file_size"`      // length of the file in bytes
	PageSize     uint64 `json:"page_size"`      // size of a page in bytes
	MaxReaders   uint64 `json:"max_readers"`    // slots in the reader table
	ReadersInUse uint64 `json:"readers_in_use"` // the most in use so far, by all processes
	PagesFree    uint64 `json:"pages_free"`     // freed pages, not yet reused: part of MapUsed
	PagesHeld    uint64 `json:"pages_held"`     // those that the oldest reader keeps from reuse

	// Reads in progress, in all processes: for a daemon at rest, its open walks.
	ReadersActive uint64 `json:"readers_active"`
	// Commits since the snapshot of the oldest of those reads. Pages that they freed cannot be
	// reused before that read ends, and the file grows instead.
	OldestReaderCommits uint64 `json:"oldest_reader_commits"`
	// How often a read of this process has had to wait for a read permit or for a slot in the
	// reader table, of any store, since the process started; and how often that wait timed out, so
	// that the read failed with [ErrTimeout] or [ErrReadersFull].
	ReaderWaits    uint64 `json:"reader_waits"`
	ReaderRefusals uint64 `json:"reader_refusals"`

	WalksOpen  uint64        `json:"walks_open"`  // open walks and verifications of this process
	OldestWalk time.Duration `json:"oldest_walk"` // how long the oldest has been open

	// Goroutines that wait to write: for the leader of a group commit, for a device that another
	// update has locked, or for a writer of another process.
	WritersWaiting uint64 `json:"writers_waiting"`
	// Whether flushes have failed again and again, or the file system takes no writes, so that the
	// store refuses writes until it is reopened.
	WritesStopped bool `json:"writes_stopped"`
	// Whether the store reads a private copy, as of when it was opened: see [WithReadOnly]. To see
	// later commits, open it again.
	IsCopy bool `json:"is_copy"`

	// How many operations each commit of this process had, since it opened the store. Each change
	// of a list counts; an import counts as one.
	CommitOperations Histogram `json:"commit_operations"`
	// How long each of those commits took, in nanoseconds: to write its pages and to flush them.
	// Waits, and the work before, are not included.
	CommitNanoseconds Histogram `json:"commit_nanoseconds"`

	// How often this process has flushed the store's file since it opened the store: once for each
	// commit that is not deferred.
	Flushes uint64 `json:"flushes"`
	// How many commits this process has undone: one that a power cut had left half written, when it
	// opened the store, and those whose flush failed.
	UndoneCommits uint64 `json:"undone_commits"`
	// How many deferred commits of this process are not flushed yet: see [PoolMetadata.Deferred].
	DeferredCommits uint64 `json:"deferred_commits"`
}

// HistogramBuckets is how many buckets a [Histogram] has.
const HistogramBuckets = C.PM_HISTOGRAM_BUCKETS

// Histogram counts values by size. The sizes double from bucket to bucket: the first counts values
// up to 1, bucket i those up to 2^i that no bucket before it counts, and the last all larger ones.
type Histogram struct {
	Count   uint64                   `json:"count"` // how many values
	Sum     uint64                   `json:"sum"`   // what they add up to
	Buckets [HistogramBuckets]uint64 `json:"buckets"`
}

// UpperBound returns the largest value that this bucket counts, [math.MaxUint64] for the last. For
// a bucket out of range, it is that of the nearest bucket.
func (Histogram) UpperBound(bucket int) uint64 {
	bucket = max(bucket, 0)
	if bucket >= HistogramBuckets-1 {
		return math.MaxUint64
	}
	return 1 << bucket
}

// Quantile returns a value that at least this share of all values, from 0 to 1, does not exceed:
// the upper bound of the bucket where that share is reached, so at most twice the true value.
// Without values it is 0.
func (h Histogram) Quantile(share float64) uint64 {
	if h.Count == 0 {
		return 0
	}
	wanted := max(1, min(max(share, 0), 1)*float64(h.Count))
	var seen uint64
	for bucket, count := range h.Buckets {
		seen += count
		if float64(seen) >= wanted {
			return h.UpperBound(bucket)
		}
	}
	return math.MaxUint64
}

func histogram(from *C.pm_histogram) Histogram {
	h := Histogram{Count: uint64(from.count), Sum: uint64(from.sum)}
	for i, count := range from.buckets {
		h.Buckets[i] = uint64(count)
	}
	return h
}

// Stats returns the store's counts and sizes.
func (m *PoolMetadata) Stats() (Stats, error) {
	var s C.pm_stats
	err := m.call("Stats", "read the store's statistics", func(reply *C.pmgo_reply) C.int32_t {
		return C.pmgo_stats(m.handle, &s, reply)
	})
	if err != nil {
		return Stats{}, err
	}
	return Stats{
		Devices:             uint64(s.devices),
		TakenIDs:            uint64(s.taken_ids),
		FreeIDs:             uint64(s.free_ids),
		FaultyIDs:           uint64(s.faulty_ids),
		LastID:              uint64(s.last_id),
		Commits:             uint64(s.commits),
		MapSize:             uint64(s.map_size),
		MapUsed:             uint64(s.map_used),
		FileSize:            uint64(s.file_size),
		PageSize:            uint64(s.page_size),
		MaxReaders:          uint64(s.max_readers),
		ReadersInUse:        uint64(s.readers_in_use),
		PagesFree:           uint64(s.pages_free),
		PagesHeld:           uint64(s.pages_held),
		ReadersActive:       uint64(s.readers_active),
		OldestReaderCommits: uint64(s.oldest_reader_commits),
		ReaderWaits:         uint64(s.reader_waits),
		ReaderRefusals:      uint64(s.reader_refusals),
		WalksOpen:           uint64(s.walks_open),
		OldestWalk:          time.Duration(s.oldest_walk_ns),
		WritersWaiting: uint64(s.writers_waiting) +
			uint64(m.queue.waiting()+m.locks.queue.waiting()),
		WritesStopped:     s.writes_stopped != 0,
		IsCopy:            s.is_copy != 0,
		CommitOperations:  histogram(&s.commit_operations),
		CommitNanoseconds: histogram(&s.commit_nanoseconds),
		Flushes:           uint64(s.flushes),
		UndoneCommits:     uint64(s.undone_commits),
		DeferredCommits:   uint64(s.deferred_commits),
	}, nil
}
