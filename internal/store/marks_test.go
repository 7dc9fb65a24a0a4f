package store_test

import "testing"

// A million requests may wait when the first mark comes back, and a statement has
// its time.
func TestManyRequestsAreFreedInSeveralStatements(t *testing.T) {
	d := open(t)
	_, err := d.sql.Exec(t.Context(), `
		insert into requests (request_id, state, project_id, region, name, mode, prepaid, spec, fingerprint, look_first, received_at, stream_sequence)
		select 'r' || n, 'pending', '`+project+`', '`+region+`', 'n', 'Single', false, '{}', sha256('x'), true, now(), n from generate_series(1, 5001) n;
		create function few() returns trigger language plpgsql as 'begin
			if (select count(*) from changed) > 5000 then raise ''too many rows for one statement''; end if;
			return null;
		end';
		create trigger few after update on requests referencing new table as changed for each statement execute function few()`)
	d.must(err)
	d.must(d.NoteMarksSeen(t.Context(), project))
	if n := one[int](d, `select count(*) from requests where look_first`); n != 0 {
		t.Errorf("%d requests still look first", n)
	}
}
