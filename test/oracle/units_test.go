package oracle

import "testing"

// TestUnits: on generated trees of units, the real systemd starts at boot what the
// inspection says (systemd --test): systemd-modules-load.service, and services of
// one's own with their commands.
func TestUnits(t *testing.T) {
	needPrograms(t)
	roots := 400
	if testing.Short() {
		roots = 40
	}
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			r, err := CompareUnits(t.Context(), v, 1, 0, roots, place(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			for _, w := range r.Wrong {
				t.Error(w)
			}
			for _, state := range []string{"loaded", "masked"} {
				if r.States[state] < roots/20 {
					t.Errorf("only %d trees have the unit %s", r.States[state], state)
				}
			}
			if r.Sure < r.Services/3 {
				t.Errorf("of %d services only %d are surely started", r.Services, r.Sure)
			}
		})
	}
}
