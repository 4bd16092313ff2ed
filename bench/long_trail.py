"""Makes an audit trail long: appends events of a chain of its own to a SQLite database, with right hashes.

    python3 bench/long_trail.py FILE COUNT

The newest granted event in the file is the model of all; each has a request id, a jti, a txn and a user of its own.
"""

import hashlib
import json
import sqlite3
import sys

WRITER = "bench"
AT_ONCE = 20_000


def main(path, count):
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    (body,) = db.execute(
        "SELECT body FROM audit_event WHERE outcome = 'granted' AND subject IS NOT NULL ORDER BY at_ms DESC LIMIT 1"
    ).fetchone()
    model = json.loads(body)
    start_ms = model["at_ms"]
    seq, prev_hash = 0, "0" * 64
    while seq < count:
        rows = []
        for seq in range(seq + 1, min(seq + AT_ONCE, count) + 1):
            model["at_ms"] = start_ms + seq
            model["request_id"] = f"req_{seq:031d}"
            model["jti"] = f"dtk_{seq:031d}"
            model["txn"] = f"txn_{seq:022d}"
            model["subject"]["sub"] = f"corp|user-{seq * 7919 % 1_000_000}"
            body = json.dumps(model, ensure_ascii=False, separators=(",", ":"))
            text = f"procura audit 1\n{WRITER}\n{seq}\n{prev_hash}\n{body}"
            digest = hashlib.sha256(text.encode()).hexdigest()
            rows.append(
                (WRITER, seq, prev_hash, digest, body, model["at_ms"], model["request_id"], model["outcome"],
                 model["reason"], model["subject"]["sub"], model.get("client"), model.get("resource"), model["jti"],
                 model["txn"])
            )
            prev_hash = digest
        with db:
            db.executemany("INSERT INTO audit_event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            db.execute("INSERT OR REPLACE INTO audit_chain VALUES (?, ?, ?)", (WRITER, seq, prev_hash))
    print(f"{count} events of {len(body)} bytes")


main(sys.argv[1], int(sys.argv[2]))
