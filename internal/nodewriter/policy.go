package nodewriter

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// strangersKey is a label that no prefix of the agent's covers, for it has none.
const strangersKey = "sctp-agent-policy-check"

// Times between the questions whether an admission policy confines the agent.
const (
	// A policy that was installed together with the agent may come into force
	// later than it starts (a second, measured); only what is allowed after
	// that is believed.
	policySettles = 20 * time.Second
	// Until it is refused, the dry run is repeated this often.
	policyRecheck = 30 * time.Minute
)

// checkPolicy finds out whether a write to another key than the agent's would be
// refused, as manifests/base/admission.yaml is to refuse it: one for another
// account or namespace allows all of them, and nothing shows that. It uses a dry
// run, which changes nothing; once that is refused, it is not repeated.
func (w *Writer) checkPolicy(ctx context.Context) {
	w.mu.Lock()
	caughtUp := w.caughtUp
	w.mu.Unlock()
	select {
	case <-caughtUp:
		// The Node comes first: see Events.
		backoff.Sleep(ctx, backoff.Within(eventSpread))
	case <-ctx.Done():
	}
	failed := backoff.Backoff{First: time.Minute, Last: policyRecheck}
	for allowed := 0; ctx.Err() == nil; {
		wait := backoff.Spread(policyRecheck, 0.5)
		err := w.client.strangersWrite(ctx)
		switch outcome := classify(err); {
		case outcome == Forbidden:
			w.setUnconfined(false)
			return
		case err != nil:
			wait = askedDelay(err) + failed.Next()
		case allowed == 0:
			allowed++
			wait = policySettles
		default:
			w.setUnconfined(true)
		}
		backoff.Sleep(ctx, wait)
	}
}

// strangersWrite tries, as a dry run, to write a key that is not the agent's.
func (c *client) strangersWrite(ctx context.Context) error {
	query := url.Values{"fieldManager": {nodelabel.FieldManager}, "dryRun": {"All"}}
	_, err := c.do(ctx, http.MethodPatch, c.path("status"), query, mergePatch, c.accept(), fmt.Appendf(nil, `{"metadata":{"labels":{%q:"true"}}}`, strangersKey))
	return err
}

func (w *Writer) setUnconfined(unconfined bool) {
	w.mu.Lock()
	changed := w.unconfined != unconfined
	w.unconfined = unconfined
	w.mu.Unlock()
	if !changed {
		return
	}
	if unconfined {
		w.cfg.Log.Warn(unconfinedMessage)
	} else {
		w.cfg.Log.Info("the admission policy confines the agent now")
	}
	poke(w.wake)
}

// Unconfined reports whether the API server was seen to allow the agent to write
// what is not its own.
func (w *Writer) Unconfined() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unconfined
}

const unconfinedMessage = "no admission policy confines the agent: its token can label every node; check that the policy sctp-agent names the agent's namespace and account"

// unconfinedReport is the report with what the writer alone knows.
func unconfinedReport(r verdict.Report) verdict.Report {
	r.Warnings = append(slices.Clip(r.Warnings), verdict.Warning{Reason: verdict.ReasonPolicyConfinesNobody, Message: unconfinedMessage})
	return r
}
