package containerdtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// functions parses a package's functions, but for tests and those of the files that are replaced.
func functions(t *testing.T, dir string) (all []*ast.FuncDecl) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") ||
			name == "metadata.go" || name == "device_info.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			if fn, ok := declared.(*ast.FuncDecl); ok && fn.Body != nil {
				all = append(all, fn)
			}
		}
	}
	return all
}

// outlines returns what the functions of the snapshotter's package do with devices and records, by
// the type and the name of each; functions that do nothing with them are left out.
func outlines(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, fn := range functions(t, dir) {
		name := fn.Name.Name
		if fn.Recv != nil {
			name = text(fn.Recv.List[0].Type) + "." + name
		}
		var o outline
		ast.Walk(&o, fn.Body)
		if slices.ContainsFunc(o.words, func(word string) bool { return word != "return nil" }) {
			found[name] = strings.Join(o.words, " ")
		}
	}
	return found
}

// outline collects what a function does with devices and records, in the order of the source: its
// calls of the store, of dmsetup, and of functions that call these, and where it reads or sets a
// state. Of the rest it has only "return nil", the ends without an error.
type outline struct {
	words []string
}

func (o *outline) add(words ...string) { o.words = append(o.words, words...) }

// block adds what a node does, in braces.
func (o *outline) block(title string, n ast.Node) {
	var inner outline
	ast.Walk(&inner, n)
	if len(inner.words) > 0 {
		o.add(title, "{")
		o.add(inner.words...)
		o.add("}")
	}
}

func (o *outline) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.DeferStmt:
		o.block("defer", n.Call)
		return nil
	case *ast.RangeStmt:
		if text(n.X) != "" {
			o.block("range "+text(n.X), n.Body)
			return nil
		}
	case *ast.SwitchStmt:
		if n.Tag != nil && strings.HasSuffix(text(n.Tag), ".State") {
			o.cases(n)
			return nil
		}
	case *ast.BinaryExpr:
		if strings.HasSuffix(text(n.X), ".State") {
			o.add("State " + n.Op.String() + " " + text(n.Y))
		}
	case *ast.KeyValueExpr:
		if text(n.Key) == "State" {
			o.add("State: " + text(n.Value))
		}
	case *ast.AssignStmt:
		if len(n.Lhs) == 1 && strings.HasSuffix(text(n.Lhs[0]), ".State") {
			o.add("State = " + text(n.Rhs[0]))
		}
	case *ast.ReturnStmt:
		if len(n.Results) > 0 && text(n.Results[len(n.Results)-1]) == "nil" {
			o.add("return nil")
		}
	case *ast.CallExpr:
		return o.call(n)
	}
	return o
}

// cases adds what is done in each state.
func (o *outline) cases(n *ast.SwitchStmt) {
	o.add("switch {")
	for _, statement := range n.Body.List {
		clause := statement.(*ast.CaseClause)
		title := "default"
		for i, state := range clause.List {
			if i == 0 {
				title = "case"
			}
			title += " " + text(state)
		}
		o.add(title + ":")
		for _, statement := range clause.Body {
			ast.Walk(o, statement)
		}
	}
	o.add("}")
}

func (o *outline) call(n *ast.CallExpr) ast.Visitor {
	name := text(n.Fun)
	switch {
	case strings.HasSuffix(name, ".transition") && len(n.Args) == 5:
		o.block(text(n.Args[2])+" -> "+text(n.Args[3]), n.Args[4])
		return nil
	case name == "append" && strings.HasSuffix(text(n.Args[0]), "Devices"):
		o.add("append " + text(n.Args[0]))
	case name == "NewPoolMetadata", strings.HasSuffix(name, ".ensureDeviceStates"):
		o.add(name)
	case slices.Contains(onlyRead, name):
	case strings.HasPrefix(name, "p."), strings.HasPrefix(name, "s.pool."),
		strings.HasPrefix(name, "dmsetup."):
		for _, argument := range n.Args {
			if state := text(argument); isState(state) {
				name += " " + state
			}
		}
		o.add(name)
	}
	return o
}

// onlyRead are calls that change nothing and decide nothing about a record.
var onlyRead = []string{
	"dmsetup.GetFullDevicePath", "dmsetup.Info", "dmsetup.Status", "dmsetup.Version",
	"p.GetUsage", "s.pool.GetUsage",
}

func isState(name string) bool {
	for state := poolmetadata.Unknown; state <= poolmetadata.Faulty; state++ {
		if state.String() == name || state == poolmetadata.Unknown && name == "Unknown" {
			return true
		}
	}
	return false
}

// text returns an expression of names, and "" for others.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return text(e.X)
	case *ast.SelectorExpr:
		return text(e.X) + "." + e.Sel.Name
	}
	return ""
}
