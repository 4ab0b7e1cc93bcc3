package poolmetadata

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// damagedStore makes a closed store with a record whose error text is damaged.
func damagedStore(t testing.TB) string {
	t.Helper()
	path := newPath(t)
	store, err := Open(path)
	ok(t, err)
	livedIn(t, store)
	add(t, store, DeviceInfo{Name: "broken", Error: "what happened"})
	ok(t, store.Close())
	file, err := os.ReadFile(path)
	ok(t, err)
	if !bytes.Contains(file, []byte("what happened")) {
		t.Fatal("the text is nowhere in the file")
	}
	ok(t, os.WriteFile(path, bytes.ReplaceAll(file, []byte("what happened"), []byte("what happens!")),
		0o600))
	return path
}

func TestCheckFindsNothingInSoundStore(t *testing.T) {
	store := newStore(t)
	livedIn(t, store)
	report, err := store.Check(0)
	ok(t, err)
	if report.Total != 0 || len(report.Findings) != 0 || report.Backup != "" {
		t.Errorf("%+v", report)
	}
	path := newPath(t)
	ok(t, store.Backup(ctx, path))
	report, err = CheckFile(path, 10)
	ok(t, err)
	repaired, err2 := Repair(path, nil)
	ok(t, err2)
	if report.Total != 0 || repaired.Total != 0 || repaired.Backup != "" {
		t.Errorf("%+v, %+v", report, repaired)
	}
}

func TestCheckAndRepairReportDamage(t *testing.T) {
	path := damagedStore(t)
	_, err := Open(path)
	wantError(t, err, ErrCorrupt)
	report, err := CheckFile(path, 0, WithLockWait(time.Second))
	ok(t, err)
	// The record has a wrong checksum, the digest shows that too, and its id has no owner that is
	// known.
	want := []Finding{
		{Kind: FindingRecordDamaged, Name: "broken", Fix: FixNothing},
		{Kind: FindingDigest, Fix: FixHeader},
		{Kind: FindingLost, DeviceID: 6, Fix: FixMakeFaulty},
	}
	if len(report.Findings) != len(want) || report.Total != 3 || report.Unfixable != 1 ||
		report.Left != 3 {
		t.Fatalf("%+v", report)
	}
	for i, found := range report.Findings {
		if found.What == "" || found.String() != found.What {
			t.Errorf("%+v", found)
		}
		found.What = ""
		if found != want[i] {
			t.Errorf("%#v, not %#v", found, want[i])
		}
	}
	store, err := Open(path, WithVerify(VerifyNone))
	ok(t, err)
	live, err := store.Check(1)
	ok(t, err)
	if live.Total != 3 || len(live.Findings) != 1 || live.Findings[0] != report.Findings[0] {
		t.Errorf("%+v", live)
	}
	_, err = CheckFile(path, 0)
	wantError(t, err, ErrAlreadyOpen)
	_, err = Repair(path, nil)
	wantError(t, err, ErrAlreadyOpen)
	ok(t, store.Close())

	before, err := os.ReadFile(path)
	ok(t, err)
	dry, err := Repair(path, &RepairOptions{DryRun: true})
	ok(t, err)
	if dry.Left != 3 || dry.Backup != "" {
		t.Errorf("%+v", dry)
	}
	_, err = Repair(path, &RepairOptions{Backup: path})
	wantError(t, err, ErrFileExists)
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Error("the file has changed")
	}
	repaired, err := Repair(path, &RepairOptions{Limit: 2, LockWait: time.Second})
	ok(t, err)
	if repaired.Total != 3 || len(repaired.Findings) != 2 || repaired.Left != 1 ||
		repaired.Backup != path+".before-repair-1" {
		t.Errorf("%+v", repaired)
	}
	if kept, err := os.ReadFile(repaired.Backup); err != nil || !bytes.Equal(before, kept) {
		t.Error("the copy is not what was there")
	}
	left, err := CheckFile(path, 0)
	ok(t, err)
	if left.Total != 1 || left.Findings[0].Kind != FindingRecordDamaged {
		t.Errorf("%+v", left)
	}
}

func TestCheckAndRepairReturnErrors(t *testing.T) {
	path := newPath(t)
	_, err := CheckFile(path, 0)
	wantError(t, err, ErrNoSuchFile)
	_, err = Repair(path, nil)
	wantError(t, err, ErrNoSuchFile)
	_, err = CheckFile(path, -1)
	wantError(t, err, ErrInvalidArgument)
	_, err = CheckFile(path, 0, WithLockWait(0))
	wantError(t, err, ErrInvalidArgument)
	_, err = Repair(path, &RepairOptions{Limit: -1})
	wantError(t, err, ErrInvalidArgument)
	_, err = Repair(path, &RepairOptions{LockWait: -1})
	wantError(t, err, ErrInvalidArgument)
	store, err := Open(newPath(t))
	ok(t, err)
	_, err = store.Check(-1)
	wantError(t, err, ErrInvalidArgument)
	ok(t, store.Close())
	_, err = store.Check(0)
	wantError(t, err, ErrClosed)
}

func TestKindsAndFixesHaveNames(t *testing.T) {
	for got, want := range map[string]string{
		FindingSharedID.String():  "SharedId",
		FindingRecovered.String(): "Recovered",
		FindingKind(99).String():  "99",
		FixNothing.String():       "Nothing",
		FixMakeFaulty.String():    "MakeFaulty",
		Fix(-1).String():          "-1",
	} {
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
