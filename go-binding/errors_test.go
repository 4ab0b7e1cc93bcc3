package poolmetadata

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
)

func TestErrorsAreContainerds(t *testing.T) {
	if error(ErrNotFound) != error(errdefs.ErrNotFound) ||
		error(ErrAlreadyExists) != error(errdefs.ErrAlreadyExists) {
		t.Error("they are not the values of errdefs")
	}
	for err, is := range map[error]func(error) bool{
		ErrNotFound:      errdefs.IsNotFound,
		ErrAlreadyExists: errdefs.IsAlreadyExists,
		ErrInvalidName:   errdefs.IsInvalidArgument,
		ErrIDsExhausted:  errdefs.IsResourceExhausted,
		ErrCorrupt:       errdefs.IsDataLoss,
		ErrConflict:      errdefs.IsConflict,
		ErrTimeout:       errdefs.IsUnavailable,
	} {
		if !is(err) {
			t.Errorf("%v is not of its class", err)
		}
	}
}

// Codes that the package never gets: for callbacks and nested writes of C programs, and for
// mistakes that it does not make.
var notForGo = map[string]bool{
	"CALLBACK": true, "NESTED_WRITE": true, "BUFFER_TOO_SMALL": true, "STRUCT_SIZE": true,
}

// Every code of the header has an error value of its own.
func TestEveryCodeHasAnError(t *testing.T) {
	header, err := os.ReadFile("../include/pool_metadata.h")
	ok(t, err)
	define := regexp.MustCompile(`(?m)^#define PM_ERR_(\w+) (\d+)$`)
	found := define.FindAllStringSubmatch(string(header), -1)
	if len(found) < 30 {
		t.Fatalf("only %d codes were found in the header", len(found))
	}
	seen := map[error]Code{}
	for _, define := range found {
		number, err := strconv.Atoi(define[2])
		ok(t, err)
		code := Code(number)
		if want := "PM_ERR_" + define[1]; code.String() != want {
			t.Errorf("code %d is %v, not %s", number, code, want)
		}
		value := sentinels[code]
		if (value == nil) != notForGo[define[1]] {
			t.Errorf("%v has the error %v", code, value)
		}
		if other, twice := seen[value]; twice && value != nil {
			t.Errorf("%v and %v share an error", code, other)
		}
		seen[value] = code
		if made := newError(code, "Op", "do it", "text"); value != nil && !errors.Is(made, value) {
			t.Errorf("%v does not come out as its error", code)
		}
	}
}

func TestErrorText(t *testing.T) {
	err := &Error{Code: CodePermission, Op: "Open", Message: "no permission", Errno: syscall.EACCES,
		doing: "open it"}
	if err.Error() != "failed to open it: no permission" {
		t.Error(err)
	}
	for _, is := range []error{ErrPermission, errdefs.ErrPermissionDenied, syscall.EACCES,
		fs.ErrPermission} {
		wantError(t, err, is)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed) {
		t.Error("it is other errors too")
	}
	if unknown := newError(99, "Op", "do it", "text"); unknown.(*Error).Unwrap() != nil {
		t.Error("a code of a newer library has been taken for another")
	}
}

// A long name is not truncated in a message, and other bytes than ASCII are escaped.
func TestMessagesNameTheDevice(t *testing.T) {
	store := newStore(t)
	name := strings.Repeat("long", 100) + "\xff"
	add(t, store, DeviceInfo{Name: name})
	err := store.AddDevice(ctx, &DeviceInfo{Name: name})
	if text := err.Error(); !strings.Contains(text, strconv.Quote(name)) ||
		!strings.Contains(text, "already exists") {
		t.Error(text)
	}
}

// A name that is too long for a device is shortened to both its ends in the message.
func TestMessagesShortenLongNames(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "base"})
	name := "begin" + strings.Repeat("x", 1<<20) + "end"
	for what, err := range map[string]error{
		"name":   store.AddDevice(ctx, &DeviceInfo{Name: name}),
		"parent": store.AddDevice(ctx, &DeviceInfo{Name: "child", ParentName: name}),
		"state":  store.AddDevice(ctx, &DeviceInfo{Name: name, State: 99}),
		"update": store.UpdateDevice(ctx, "base", func(info *DeviceInfo) error {
			info.Name = name
			return nil
		}),
		"nil": store.UpdateDevice(ctx, name, nil),
	} {
		text := err.Error()
		if len(text) > 1000 || !strings.Contains(text, `"begin`) || !strings.Contains(text, `end"`) {
			t.Errorf("%s: %d bytes: %.200s", what, len(text), text)
		}
	}
}
