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
	"time"
	"unsafe"
)

// DefaultFindings is how many findings a report keeps if nothing else is asked for.
const DefaultFindings = 1000

// FindingKind is what kind of violation of the invariants a [Finding] is.
type FindingKind int32

const (
	// FindingHeaderDamaged: the header row is missing or damaged.
	FindingHeaderDamaged FindingKind = C.PM_FINDING_HEADER_DAMAGED
	// FindingCounters: a counter of the header is not what the rows add up to.
	FindingCounters FindingKind = C.PM_FINDING_COUNTERS
	// FindingDigest: the header's digest is not that of the rows; some are missing, or are of an older commit.
	FindingDigest FindingKind = C.PM_FINDING_DIGEST
	// FindingRecordDamaged: a record's checksum does not hold, or it does not decode.
	FindingRecordDamaged FindingKind = C.PM_FINDING_RECORD_DAMAGED
	// FindingRecordID: a record's device id is none, or was never given out.
	FindingRecordID FindingKind = C.PM_FINDING_RECORD_ID
	// FindingRecordGeneration: a record is of a commit that is still to come.
	FindingRecordGeneration FindingKind = C.PM_FINDING_RECORD_GENERATION
	// FindingSharedID: the device id of a record is another record's as well. There is one for each of them.
	FindingSharedID FindingKind = C.PM_FINDING_SHARED_ID
	// FindingIDRowDamaged: a row of the table of ids is damaged.
	FindingIDRowDamaged FindingKind = C.PM_FINDING_ID_ROW_DAMAGED
	// FindingIDRowOutside: a row of the table of ids is of an id that is none, or was never given out.
	FindingIDRowOutside FindingKind = C.PM_FINDING_ID_ROW_OUTSIDE
	// FindingFreeAndOwned: an id is free, and a device has it.
	FindingFreeAndOwned FindingKind = C.PM_FINDING_FREE_AND_OWNED
	// FindingFreeAndFaulty: an id is free and faulty.
	FindingFreeAndFaulty FindingKind = C.PM_FINDING_FREE_AND_FAULTY
	// FindingLost: an id was given out, and is neither a device's nor free nor faulty.
	FindingLost FindingKind = C.PM_FINDING_LOST
	// FindingPageLost: a page of a table is damaged or not there. Only told by [Salvage].
	FindingPageLost FindingKind = C.PM_FINDING_PAGE_LOST
	// FindingRecovered: a record was found outside the tables, which have lost it, or have an older one. It may be older
	// than what was lost, or have been removed since. Only told by [Salvage].
	FindingRecovered FindingKind = C.PM_FINDING_RECOVERED
)

// Fix is what would fix a [Finding].
type Fix int32

const (
	// FixNothing is nothing that is not a guess: go back to a backup, or salvage what is whole.
	FixNothing Fix = C.PM_FIX_NOTHING
	// FixHeader is writing the header anew, from the rows.
	FixHeader Fix = C.PM_FIX_HEADER
	// FixRemoveIDRow is removing a row from the table of ids.
	FixRemoveIDRow Fix = C.PM_FIX_REMOVE_ID_ROW
	// FixMakeFaulty is making the id faulty, so that it is not given out.
	FixMakeFaulty Fix = C.PM_FIX_MAKE_FAULTY
)

// Finding is one violation of the invariants.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// Name is the device whose record it is about; "" if it is about none.
	Name string `json:"name,omitempty"`
	// DeviceID is the device id that it is about; 0 if it is about none, or that is not known.
	DeviceID uint32 `json:"device_id,omitempty"`
	Fix      Fix    `json:"fix"`
	// What is wrong, in words.
	What string `json:"what"`
}

// String returns what is wrong.
func (f Finding) String() string { return f.What }

// Report is what a check or a repair has found.
type Report struct {
	// Findings are the first ones, as many as were asked for.
	Findings []Finding `json:"findings"`
	// Total is how many there are in all; 0 for a sound store.
	Total uint64 `json:"total"`
	// Unfixable is how many of all cannot be fixed.
	Unfixable uint64 `json:"unfixable"`
	// Left is how many are left: after a repair, only what cannot be fixed; else all.
	Left uint64 `json:"left"`
	// Backup is where a repair has kept the file as it was; "" if it has changed nothing.
	Backup string `json:"backup,omitempty"`
}

// Check reads the whole store, as of this moment, and reports every violation of the invariants. A store that is not sound
// is no error: the report says so. The first limit findings are kept; 0 stands for [DefaultFindings].
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

// CheckFile does the same for a store that need not be open, and that [Open] refuses for what its rows say. Nothing is
// changed. Other processes may have the store open, this one must not ([ErrAlreadyOpen]). Of the options, only
// [WithLockWait] counts.
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

// RepairOptions say how [Repair] repairs a store; nil stands for the defaults.
type RepairOptions struct {
	// DryRun only says what is wrong and what would fix it, as [CheckFile] does.
	DryRun bool
	// Backup is where the copy of the file is to be that is made first; there must be nothing. By default it is the path
	// with ".before-repair-" and a number behind it, the lowest that is not taken.
	Backup string
	// Limit is how many findings the report keeps; 0 stands for [DefaultFindings].
	Limit int
	// LockWait is how long to wait for others at each place; 0 stands for [DefaultLockWait].
	LockWait time.Duration
}

// Repair fixes what is wrong with the rows of a store that nobody has open ([ErrAlreadyOpen]), as far as that needs no
// guessing, in one transaction, and says what it found and what it could not fix:
//
//   - The header (counters, last id, digest) is written anew from the rows.
//   - Records are right: an id that a device has is not free. An id that is free and faulty is faulty.
//   - An id that is nobody's becomes faulty, so that it is not given out.
//   - Rows of the table of ids that are damaged, or of no id that there is, are removed.
//   - Records are never touched. Two with the same id, a damaged one, and one whose numbers cannot be stay as they are, and
//     the store is still refused: [Salvage] makes a new one without them.
//
// The file is copied first, if there is anything to fix. On an error the store is as it was, unless [ErrNoMemory] or
// [ErrIO] says that what was fixed could not be read back or reported: [CheckFile] tells.
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
	status := C.pmgo_repair(text(path), size(path), flags, text(how.Backup), size(how.Backup), C.size_t(how.Limit), wait,
		&report, &reply)
	return takeReport(status, &report, &reply, op, doing)
}

func errLimit(op, doing string, limit int) error {
	return newError(CodeInvalidArgument, op, doing, fmt.Sprintf("the limit of findings is %d", limit))
}

// takeReport returns a report of the library's, and frees it.
func takeReport(status C.int32_t, from *C.pmgo_report, reply *C.pmgo_reply, op, doing string) (*Report, error) {
	if status != C.PM_OK {
		return nil, failure(status, reply.detail, op, doing)
	}
	if reply.handle == 0 {
		return &Report{}, nil
	}
	// One more of both, so that there is an address in any case.
	findings := make([]C.pmgo_finding, from.count+1)
	block := make([]byte, from.texts_len+1)
	C.pmgo_report_take(reply.handle, unsafe.SliceData(findings), (*C.char)(unsafe.Pointer(unsafe.SliceData(block))))
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
