//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_salvage
#cgo nocallback pmgo_salvage

#include "check.h"
*/
import "C"

// Salvaged is the result of [Salvage].
type Salvaged struct {
	// Devices is the number of devices in the new store.
	Devices uint64 `json:"devices"`
	// Recovered is how many of them were found outside the tables: see [FindingRecovered].
	Recovered uint64 `json:"recovered"`
	// LostPages is how many pages of the tables were damaged or missing.
	LostPages uint64 `json:"lost_pages"`
	// Complete is whether the new store has everything that the old one had, by the old one's
	// digest.
	Complete bool `json:"complete"`
	// Commits is how many commits the content had seen, as in [Stats]; 0 if the header row is lost
	// ([FindingHeaderDamaged]) or nothing was ever written. The new store counts from the beginning.
	Commits uint64 `json:"commits"`
	// LastID is the highest device id that was ever assigned, 0 for none. If the header row is lost,
	// or may not be the last one, which the report says, this is the highest that was seen. Ids
	// above it may belong to data of the pool if the file is an old copy, or if this is not the
	// highest.
	LastID uint32 `json:"last_id"`
	// Report lists the violations and what became of them.
	Report Report `json:"report"`
}

// Salvage reads every record that is still intact from a damaged file, and makes a new store of
// them at destination, where no file may exist ([ErrFileExists]). The damaged file is only read; no
// process may have it open ([ErrAlreadyOpen]).
//
//   - Where the trees of the tables lead to a record with a correct checksum, that record is taken.
//   - Where the trees are broken, all pages of the file are searched for records. Of two records
//     with one name, the one with the higher generation is taken. Such a record may be older than
//     the one that was lost, or belong to a device that was removed since (unless its id is known
//     to be free): each is reported as [FindingRecovered].
//   - Of two records with one id, the one with the higher generation is kept; the other is
//     reported.
//   - Ids whose state is lost become faulty: the pool may have a device with such an id. So do free
//     ids, unless all rows of the last commit are there.
//
// Generations start again. The report keeps the first limit findings; 0 stands for
// [DefaultFindings]. The new store has the damaged file's owner and mode, as far as the process may
// set them. Of the options, only [WithLockWait] has an effect.
//
// The pool still has the devices that the new store lacks: those that are lost, and, if the file is
// an old copy, those that were made since. Their ids are assigned again unless they are faulty.
// Compare the two before the store is used: [PoolMetadata.Reconcile]. The ids in doubt are those
// that are free in the new store, and all above LastID.
func Salvage(damaged, destination string, limit int, opts ...Option) (*Salvaged, error) {
	const op, doing = "Salvage", "salvage the store"
	o := makeOptions(opts)
	native, err := o.native(op, doing)
	if err != nil {
		return nil, err
	}
	if limit < 0 {
		return nil, errLimit(op, doing, limit)
	}
	var (
		salvaged C.pm_salvaged
		report   C.pmgo_report
		reply    C.pmgo_reply
	)
	status := C.pmgo_salvage(text(damaged), size(damaged), text(destination), size(destination),
		&native, C.size_t(limit),
		&salvaged, &report, &reply)
	found, err := takeReport(status, &report, &reply, op, doing)
	if err != nil {
		return nil, err
	}
	return &Salvaged{
		Devices:   uint64(salvaged.devices),
		Recovered: uint64(salvaged.recovered),
		LostPages: uint64(salvaged.lost_pages),
		Complete:  salvaged.complete != 0,
		Commits:   uint64(salvaged.commits),
		LastID:    uint32(salvaged.last_id),
		Report:    *found,
	}, nil
}
