//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_check
#cgo noescape pmgo_check_file
#cgo noescape pmgo_repair
#cgo noescape pmgo_report_take

#cgo nocallback pmgo_check
#cgo nocallback pmgo_check_file
#cgo nocallback pmgo_repair
#cgo nocallback pmgo_report_take

#include "check.h"
*/
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"time"
	"unsafe"
)

// DefaultFindings is how many findings a report keeps if no limit is given.
const DefaultFindings = 1000

// FindingKind is what kind of violation of the invariants a [Finding] is.
type FindingKind int32

const (
	// FindingHeaderDamaged: the header row is missing or damaged.
	FindingHeaderDamaged FindingKind = C.PM_FINDING_HEADER_DAMAGED
	// FindingCounters: a counter of the header does not agree with the rows.
	FindingCounters FindingKind = C.PM_FINDING_COUNTERS
	// FindingDigest: the header's digest is not that of the rows. Some rows are missing, or belong
	// to an older commit.
	FindingDigest FindingKind = C.PM_FINDING_DIGEST
	// FindingRecordDamaged: a record has a wrong checksum, or does not decode.
	FindingRecordDamaged FindingKind = C.PM_FINDING_RECORD_DAMAGED
	// FindingRecordID: a record's device id is out of range, or was never assigned.
	FindingRecordID FindingKind = C.PM_FINDING_RECORD_ID
	// FindingRecordGeneration: a record belongs to a commit after the last one.
	FindingRecordGeneration FindingKind = C.PM_FINDING_RECORD_GENERATION
	// FindingSharedID: several records have the same device id. There is one finding for each of
	// them.
	FindingSharedID FindingKind = C.PM_FINDING_SHARED_ID
	// FindingIDRowDamaged: a row of the table of ids is damaged.
	FindingIDRowDamaged FindingKind = C.PM_FINDING_ID_ROW_DAMAGED
	// FindingIDRowOutside: a row of the table of ids is for an id that is out of range, or was
	// never assigned.
	FindingIDRowOutside FindingKind = C.PM_FINDING_ID_ROW_OUTSIDE
	// FindingFreeAndOwned: an id is free although a device has it.
	FindingFreeAndOwned FindingKind = C.PM_FINDING_FREE_AND_OWNED
	// FindingFreeAndFaulty: an id is both free and faulty.
	FindingFreeAndFaulty FindingKind = C.PM_FINDING_FREE_AND_FAULTY
	// FindingLost: an id was assigned, and no device has it, although it is neither free nor
	// faulty.
	FindingLost FindingKind = C.PM_FINDING_LOST
	// FindingPageLost: a page of a table is damaged or missing. Only [Salvage] reports it.
	FindingPageLost FindingKind = C.PM_FINDING_PAGE_LOST
	// FindingRecovered: a record was found outside the tables, which have lost it or have an older
	// version. It may be older than what was lost, or belong to a device that was removed since.
	// Only [Salvage] reports it.
	FindingRecovered FindingKind = C.PM_FINDING_RECOVERED
	// FindingJournalRow: a row of the journal is damaged, or its commit or number is higher than
	// the last one. In a report of [Salvage] also an intent that was left out because it may have
	// been finished.
	FindingJournalRow FindingKind = C.PM_FINDING_JOURNAL_ROW
)

// String returns the name of the kind, such as "SharedId", or its number for one that the library
// does not know.
func (k FindingKind) String() string {
	return nameOf(C.pm_finding_name(C.int32_t(k)), int32(k))
}

// Fix is what would fix a [Finding].
type Fix int32

// String returns the name of the fix, such as "MakeFaulty", or its number for one that the library
// does not know.
func (f Fix) String() string { return nameOf(C.pm_fix_name(C.int32_t(f)), int32(f)) }

func nameOf(name *C.char, number int32) string {
	if name == nil {
		return strconv.Itoa(int(number))
	}
	return C.GoString(name)
}

const (
	// FixNothing: any fix would be a guess. Go back to a backup, or salvage what is intact.
	FixNothing Fix = C.PM_FIX_NOTHING
	// FixHeader: the header is computed from the rows and written again.
	FixHeader Fix = C.PM_FIX_HEADER
	// FixRemoveIDRow: a row is removed from the table of ids.
	FixRemoveIDRow Fix = C.PM_FIX_REMOVE_ID_ROW
	// FixMakeFaulty: the id becomes faulty, so that it is not assigned.
	FixMakeFaulty Fix = C.PM_FIX_MAKE_FAULTY
	// FixRemoveJournalRow: a row is removed from the journal.
	FixRemoveJournalRow Fix = C.PM_FIX_REMOVE_JOURNAL_ROW
)

// Finding is one violation of the invariants.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// Name is the device whose record is concerned; "" if there is none.
	Name string `json:"name,omitempty"`
	// DeviceID is the device id that is concerned; 0 if there is none, or it is not known.
	DeviceID uint32 `json:"device_id,omitempty"`
	Fix      Fix    `json:"fix"`
	// What describes the violation.
	What string `json:"what"`
}

// String returns the description.
func (f Finding) String() string { return f.What }

// Report is the result of a check or a repair.
type Report struct {
	// Findings are the first findings, up to the limit.
	Findings []Finding `json:"findings"`
	// Total is the number of all findings; 0 for a sound store.
	Total uint64 `json:"total"`
	// Unfixable is how many of them cannot be fixed.
	Unfixable uint64 `json:"unfixable"`
	// Left is how many remain: after a repair those that cannot be fixed, otherwise all.
	Left uint64 `json:"left"`
	// Backup is the path of the copy that a repair made first; "" if it changed nothing.
	Backup string `json:"backup,omitempty"`
}

// Check reads the whole store, as of this moment, and reports every violation of the invariants. An
// unsound store is not an error: the report says so. The report keeps the first limit findings; 0
// stands for [DefaultFindings].
func (m *PoolMetadata) Check(limit int) (*Report, error) {
	const op, doing = "Check", "check the store"
	if m.calls.isShut() {
		return nil, errClosed(op, doing)
	}
	if limit < 0 {
		return nil, errLimit(op, doing, limit)
	}
	var (
		report C.pmgo_report
		reply  C.pmgo_reply
	)
	status := C.pmgo_check(m.handle, C.size_t(limit), &report, &reply)
	runtime.KeepAlive(m)
	return takeReport(status, &report, &reply, op, doing)
}

// CheckFile checks a store as [PoolMetadata.Check] does, without opening it, so that it can also
// check a store whose rows make [Open] refuse it. It changes nothing. Other processes may have the
// store open; this process must not ([ErrAlreadyOpen]). Of the options, only [WithLockWait] has an
// effect.
func CheckFile(path string, limit int, opts ...Option) (*Report, error) {
	const op, doing = "CheckFile", "check the store"
	o := makeOptions(opts)
	native, err := o.native(op, doing)
	if err != nil {
		return nil, err
	}
	if limit < 0 {
		return nil, errLimit(op, doing, limit)
	}
	var (
		report C.pmgo_report
		reply  C.pmgo_reply
	)
	status := C.pmgo_check_file(text(path), size(path), &native, C.size_t(limit), &report, &reply)
	return takeReport(status, &report, &reply, op, doing)
}

// RepairOptions are the options of [Repair]; nil stands for the defaults.
type RepairOptions struct {
	// DryRun only reports the violations and their fixes, as [CheckFile] does.
	DryRun bool
	// Backup is the path of the copy that is made first; no file may exist there. The default is
	// the path with ".before-repair-" and the lowest number that is not taken appended.
	Backup string
	// Limit is how many findings the report keeps; 0 stands for [DefaultFindings].
	Limit int
	// LockWait is how long each wait for other processes may take; 0 stands for [DefaultLockWait].
	LockWait time.Duration
}

// Repair fixes the rows of a store that no process has open ([ErrAlreadyOpen]), in one transaction
// and only where that needs no guess, and reports what it found and what it could not fix:
//
//   - The header (counters, last id, digest) is computed from the rows.
//   - Records win: an id that a device has is not free. An id that is both free and faulty is
//     faulty.
//   - An id without an owner becomes faulty, so that it is not assigned.
//   - Rows of the table of ids that are damaged, or whose id is out of range, are removed.
//   - Records are never changed. Records that share an id, are damaged, or have impossible values
//     stay as they are, and [Open] still refuses the store: [Salvage] makes a new store without
//     them.
//
// The file is copied first, if there is anything to fix. After an error the store is unchanged,
// except that [ErrNoMemory] and [ErrIO] can mean that the fixed store could not be read back or
// reported: run [CheckFile] to find out.
func Repair(path string, how *RepairOptions) (*Report, error) {
	const op, doing = "Repair", "repair the store"
	if how == nil {
		how = &RepairOptions{}
	}
	if how.Limit < 0 {
		return nil, errLimit(op, doing, how.Limit)
	}
	if how.LockWait < 0 {
		return nil, newError(CodeInvalidArgument, op, doing, "the lock wait is negative")
	}
	var (
		flags  C.uint32_t
		report C.pmgo_report
		reply  C.pmgo_reply
	)
	if how.DryRun {
		flags = C.PM_REPAIR_DRY_RUN
	}
	wait := C.uint64_t(math.Ceil(float64(how.LockWait) / float64(time.Millisecond)))
	status := C.pmgo_repair(text(path), size(path), flags, text(how.Backup), size(how.Backup),
		C.size_t(how.Limit), wait, &report, &reply)
	return takeReport(status, &report, &reply, op, doing)
}

func errLimit(op, doing string, limit int) error {
	return newError(CodeInvalidArgument, op, doing, fmt.Sprintf("the limit of findings is %d", limit))
}

// takeReport returns a report that the library has allocated, and frees it.
func takeReport(
	status C.int32_t, from *C.pmgo_report, reply *C.pmgo_reply, op, doing string,
) (*Report, error) {
	if status != C.PM_OK {
		return nil, failure(status, reply.detail, op, doing)
	}
	if reply.handle == 0 {
		return &Report{}, nil
	}
	// One more of each, so that both slices have an address even if they would be empty.
	findings := make([]C.pmgo_finding, from.count+1)
	block := make([]byte, from.texts_len+1)
	C.pmgo_report_take(reply.handle, unsafe.SliceData(findings),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(block))))
	rest := unsafe.String(unsafe.SliceData(block), len(block))
	next := func(length C.size_t) (text string) {
		text, rest = rest[:length], rest[length:]
		return text
	}
	report := &Report{
		Findings:  make([]Finding, from.count),
		Total:     uint64(from.total),
		Unfixable: uint64(from.unfixable),
		Left:      uint64(from.left),
	}
	for i := range report.Findings {
		f := &findings[i]
		report.Findings[i] = Finding{
			Kind:     FindingKind(f.kind),
			Name:     next(f.name_len),
			DeviceID: uint32(f.device_id),
			Fix:      Fix(f.fix),
			What:     next(f.text_len),
		}
	}
	report.Backup = next(from.backup_len)
	return report, nil
}
