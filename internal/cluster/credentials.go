package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
)

// credentials is a transport that asks a credential plugin first. Plugins take no
// notice of a request's context, and of their errors not all name them.
type credentials struct{ transport http.RoundTripper }

// gettingCredentials begins the errors of client-go's own exec plugin.
const gettingCredentials = "getting credentials: "

// RoundTrip ends with the request's context.
func (c credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	var connects atomic.Bool
	traced := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GetConn: func(string) { connects.Store(true) }}))
	type answer struct {
		*http.Response
		err error
	}
	done := make(chan answer, 1)
	go func() {
		response, err := c.transport.RoundTrip(traced)
		done <- answer{response, err}
	}()
	var a answer
	select {
	case a = <-done:
	case <-r.Context().Done():
		if connects.Load() {
			a = <-done // the connection ends with the context, too
		} else {
			a.err = context.Cause(r.Context())
		}
	}
	if a.err != nil && !connects.Load() && !strings.HasPrefix(a.err.Error(), gettingCredentials) {
		a.err = fmt.Errorf(gettingCredentials+"%w", a.err)
	}
	return a.Response, a.err
}
