package boltfile

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of errors.
var (
	// ErrLocked says that another process holds the file.
	ErrLocked = errors.New(
		"the bbolt file is locked by another process, most likely a running containerd: " +
			"stop it, and try again")
	// ErrUnsupported says that the file system, the kernel or a sandbox lacks something.
	ErrUnsupported = errors.New("not supported by the file system, the kernel or a sandbox")
	// ErrDamaged says that the file is not what bbolt and containerd write.
	ErrDamaged = errors.New("the bbolt file is damaged")
	// ErrForeign says that the file is a bbolt file of another program.
	ErrForeign = errors.New("the bbolt file is not a devmapper snapshotter's")
	// ErrName says that devices or parents have names that this store does not allow.
	ErrName = errors.New("this store cannot hold all names in the bbolt file")
	// ErrState says that records have states that this store does not know.
	ErrState = errors.New("this store does not know all states in the bbolt file")
	// ErrText says that records have longer error texts than this store allows.
	ErrText = errors.New("this store cannot hold all error texts in the bbolt file")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// unfit gathers the values that this store does not allow.
type unfit struct{ names, states, texts problems }

func newUnfit() unfit {
	return unfit{problems{kind: ErrName}, problems{kind: ErrState}, problems{kind: ErrText}}
}

func (u *unfit) err() error {
	return errors.Join(u.names.err(), u.states.err(), u.texts.err())
}

// problems gathers everything that is wrong, for one message.
type problems struct {
	kind error
	list []string
}

func (p *problems) add(format string, args ...any) {
	p.list = append(p.list, fmt.Sprintf(format, args...))
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", p.kind, strings.Join(p.list, "; "))
}
