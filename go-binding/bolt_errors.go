//go:build linux && cgo

package poolmetadata

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
	"github.com/pool-metadata/pool-metadata/go-binding/internal/takeover"
)

// boltKinds has the codes for errors of the internal packages and of the system. The first that
// fits counts.
var boltKinds = []struct {
	kind error
	code Code
}{
	{boltfile.ErrUnsupported, CodeUnsupported},
	{boltfile.ErrLocked, CodeTimeout},
	{takeover.ErrBusy, CodeTimeout},
	{boltfile.ErrForeign, CodeBboltFile},
	{boltfile.ErrDamaged, CodeCorrupt},
	{boltfile.ErrName, CodeInvalidName},
	{boltfile.ErrState, CodeInvalidState},
	{boltfile.ErrText, CodeTooLong},
	{fs.ErrPermission, CodePermission},
	{syscall.EROFS, CodeReadOnlyFS},
	{fs.ErrNotExist, CodeNoSuchFile},
	{fs.ErrExist, CodeFileExists},
	{syscall.ENOSPC, CodeDiskFull},
	{syscall.EDQUOT, CodeDiskFull},
	{syscall.ENOTDIR, CodeInvalidPath},
	{syscall.ENAMETOOLONG, CodeInvalidPath},
}

// boltError gives an error of the internal packages its code. An error that has a code keeps it.
func boltError(err error, op, doing string) error {
	if err == nil {
		return nil
	}
	e := &Error{Code: CodeIO, Op: op, Message: err.Error(), doing: doing}
	var inner *Error
	if errors.As(err, &inner) {
		e.Code, e.Errno = inner.Code, inner.Errno
		return e
	}
	_ = errors.As(err, &e.Errno)
	for _, known := range boltKinds {
		if errors.Is(err, known.kind) {
			e.Code = known.code
			break
		}
	}
	return e
}
