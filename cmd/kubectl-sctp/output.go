package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

// outputFlags are -o and the flags of its templates, which kubectl's own
// printers apply to a command's JSON.
type outputFlags struct {
	command.Output
	known     []command.Output
	templates *genericclioptions.KubeTemplatePrintFlags
	template  printers.ResourcePrinter // nil for any other form
}

// form prints a result in one way.
type form = func(io.Writer, terminal.Palette) error

// register adds the flags; also are the forms of this command besides those of
// all.
func (o *outputFlags) register(cmd *cobra.Command, also ...command.Output) {
	o.Output = "table"
	o.known = slices.Concat([]command.Output{"table"}, also, []command.Output{"json", "yaml"})
	o.templates = genericclioptions.NewKubeTemplatePrintFlags()
	flags := cmd.Flags()
	flags.VarP(o, "output", "o", o.want())
	flags.StringVar(o.templates.TemplateArgument, "template", "", "template of -o go-template or jsonpath, or its file")
	flags.BoolVar(o.templates.AllowMissingKeys, "allow-missing-template-keys", true, "ignore fields of a template that are missing")
	completeValues(cmd, "output", append(texts(o.known), o.templates.AllowedFormats()...)...)
	completeFiles(cmd, "template")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return o.parse(cmd.Context()) }
}

// texts are words of one kind as what they are.
func texts[T ~string](words []T) (list []string) {
	for _, word := range words {
		list = append(list, string(word))
	}
	return list
}

func (o *outputFlags) want() string {
	var b strings.Builder
	for _, known := range o.known {
		fmt.Fprintf(&b, "%q, ", known)
	}
	return b.String() + `"jsonpath=…" or "go-template=…"`
}

// Set takes a form; its template is parsed when all flags are known.
func (o *outputFlags) Set(s string) error {
	name, _, _ := strings.Cut(s, "=")
	if !slices.Contains(o.known, command.Output(s)) && !slices.Contains(o.templates.AllowedFormats(), name) {
		return errors.New("want " + o.want())
	}
	o.Output = command.Output(s)
	return nil
}

// parse parses the template. Without -o, --template is one of Go, as for kubectl.
func (o *outputFlags) parse(ctx context.Context) error {
	template := *o.templates.TemplateArgument != ""
	if template && o.Output == "table" {
		o.Output = "go-template"
	}
	if slices.Contains(o.known, o.Output) {
		if template {
			return fmt.Errorf("--template cannot be combined with -o %s", o.Output)
		}
		return nil
	}
	var err error
	read := func() (printers.ResourcePrinter, error) { return o.templates.ToPrinter(string(o.Output)) }
	if o.template, err = until(ctx, "the template", read); err != nil {
		return fmt.Errorf("-o %s: %w", o.Output, err)
	}
	return nil
}

// Print writes value in the chosen form. JSON, YAML and templates are made from it;
// the command has a function for each other form.
func (o *outputFlags) Print(w io.Writer, value any, forms map[command.Output]form) error {
	if o.template != nil {
		return o.apply(w, value)
	}
	if o.Output == "html" && terminal.Is(w) {
		return forms["html"](terminal.Filter(w), terminal.Palette{}) // a browser shows what a terminal acts on
	}
	return o.Output.Print(w, value, forms[o.Output])
}

// progress prints what a command that takes its time is doing.
func progress(stderr io.Writer, quiet bool) func(what string) {
	start := time.Now()
	return func(what string) {
		if !quiet {
			fmt.Fprintf(stderr, "%5.1fs %s\n", time.Since(start).Seconds(), what)
		}
	}
}

// encoded is JSON as an object of kubectl's printers. That of Go's templates
// encodes and decodes what it is given: decoded before, a large result is in
// memory twice.
type encoded json.RawMessage

func (e encoded) MarshalJSON() ([]byte, error)     { return e, nil }
func (e encoded) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }
func (e encoded) DeepCopyObject() runtime.Object   { return e }

// apply prints value through the template.
func (o *outputFlags) apply(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var object runtime.Object = encoded(text)
	if _, ok := o.template.(*printers.JSONPathPrinter); ok {
		var decoded unstructured.Unstructured // its numbers are whole
		if err := utiljson.Unmarshal(text, &decoded.Object); err != nil {
			return err
		}
		object = &decoded
	}
	var out bytes.Buffer
	if err := o.template.PrintObj(object, &out); err != nil {
		// The printers add the whole object, to the error and to the output.
		first, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(strings.TrimSuffix(first, ". Printing more information for debugging the template:"))
	}
	printed := out.String()
	if terminal.Is(w) {
		columns := strings.Split(printed, "\t") // a tab is what templates part columns with
		for i, column := range columns {
			columns[i] = terminal.Visible(column)
		}
		printed = strings.Join(columns, "\t")
	}
	_, err = io.WriteString(w, printed)
	return err
}
