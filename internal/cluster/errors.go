package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Error is a request that the API server did not grant, or did not answer. The
// functions of k8s.io/apimachinery/pkg/api/errors look through it.
type Error struct {
	// Verb and Resource are as in RBAC rules: "patch", "nodes/status". A resource
	// of an API group has its name: "machineconfigs.machineconfiguration.openshift.io".
	Verb, Resource  string
	Namespace, Name string
	Err             error
}

// Failed is the error of a request, nil when there was none.
func Failed(verb, resource, namespace, name string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Verb: verb, Resource: resource, Namespace: namespace, Name: name, Err: err}
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	right := fmt.Sprintf("%s %s", e.Verb, e.Resource)
	request := right
	if e.Name != "" {
		object, _, _ := strings.Cut(e.Resource, "/")
		request = fmt.Sprintf("%s %s/%s", e.Verb, object, e.Name)
	}
	if e.Namespace != "" {
		request += " in namespace " + e.Namespace
	}
	return request + ": " + reason(e.Err, right)
}

// reason is why a request failed; right is the right that it needs.
func reason(err error, right string) string {
	var status apierrors.APIStatus
	var unsent *url.Error
	switch {
	case errors.As(err, &unsent):
		// client-go names what it was about to do, were it not for these.
		if strings.HasPrefix(unsent.Err.Error(), gettingCredentials) {
			return unsent.Err.Error()
		}
		host := unsent.URL
		if u, err := url.Parse(unsent.URL); err == nil {
			host = u.Host
		}
		return fmt.Sprintf("no answer from the API server at %s: %v", host, unsent.Err)
	case !errors.As(err, &status):
		// client-go, of a proxy's page, or of a server of something else.
		if kind, other := strings.CutPrefix(strings.TrimSuffix(err.Error(), " doesn't exist"), "serializer for "); other {
			return fmt.Sprintf("the answer is %s, which no API server sends: check its address, and proxies", kind)
		}
		return err.Error()
	}
	message, code := status.Status().Message, status.Status().Code
	switch code {
	case http.StatusForbidden:
		if strings.Contains(message, "forbidden: ") && !strings.Contains(message, " cannot ") {
			// Admission refuses with the same code (Pod Security, quotas), in
			// words of its own; an authorizer's are "User x cannot list …".
			return "refused: " + message
		}
		return fmt.Sprintf("forbidden: the right to %s is missing (%s)", right, message)
	case 0:
		return message // not of a server: of files in place of one
	case http.StatusUnauthorized:
		return "the API server does not accept these credentials"
	default:
		return fmt.Sprintf("%s (HTTP %d)", message, code)
	}
}
