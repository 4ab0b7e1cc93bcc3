//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_salvage
#cgo nocallback pmgo_salvage

#include "check.h"
*/
import "C"

// Salvaged is what [Salvage] has made of a damaged file.
type Salvaged struct {
	// Devices is how many devices the new store has.
	Devices uint64 `json:"devices"`
	// Recovered is how many of them were found outside the tables: see [FindingRecovered].
	Recovered uint64 `json:"recovered"`
	// LostPages is how many pages of the tables were damaged or not there.
	LostPages uint64 `json:"lost_pages"`
	// Complete is whether the new store has all that the old one held, by the old one's own digest.
	Complete bool `json:"complete"`
	// Report is what was wrong, and what became of it.
	Report Report `json:"report"`
}

// Salvage reads every record that is still whole from a damaged file, and makes a new store of them at target, where
// nothing may be ([ErrFileExists]). The damaged file is only read; nobody may have it open ([ErrAlreadyOpen]).
//
//   - Where the tables' trees lead to a record whose checksum holds, that is taken.
//   - Where they lead nowhere, all pages of the file are searched for records; of two of one name the one of the higher
//     generation is taken. Such a record may be older than what was lost, or of a device that was removed since (unless
//     its id is known to be free): each is told as [FindingRecovered].
//   - Of two with the same id, the one of the higher generation is kept, the other told.
//   - Ids of which nothing is known any more become faulty: a device may live under them in the pool. So do free ones
//     unless all rows of the last commit are there.
//
// Generations begin anew. The first limit findings are kept for the report; 0 stands for [DefaultFindings]. Of the
// options, only [WithLockWait] counts.
func Salvage(damaged, target string, limit int, opts ...Option) (*Salvaged, error) {
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
	status := C.pmgo_salvage(text(damaged), size(damaged), text(target), size(target), &native, C.size_t(limit),
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
		Report:    *found,
	}, nil
}
