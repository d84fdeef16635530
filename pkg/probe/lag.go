package probe

import "time"

// lag measures how late the machine wakes those who sleep. A step that waited
// in vain on a machine that could not run the probe, or the kernel's side of
// it, proves nothing about SCTP.
type lag struct {
	stop  chan struct{}
	worst chan time.Duration
}

const lagInterval = 10 * time.Millisecond

func watchLag() *lag {
	l := &lag{make(chan struct{}), make(chan time.Duration)}
	go l.watch()
	return l
}

func (l *lag) watch() {
	var worst time.Duration
	timer := time.NewTimer(lagInterval)
	defer timer.Stop()
	for {
		due := time.Now().Add(lagInterval)
		timer.Reset(lagInterval)
		for waiting := true; waiting; {
			select {
			case <-timer.C:
				worst = max(worst, time.Since(due))
				waiting = false
			case l.worst <- worst:
			case <-l.stop:
				return
			}
		}
	}
}

// so far: the worst since the watch began.
func (l *lag) soFar() time.Duration { return <-l.worst }

func (l *lag) end() { close(l.stop) }
