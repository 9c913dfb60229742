"""``klipper_mcu.py LINK``: a small simulated board for a real klippy host, in real time.

It runs in klippy's own environment, whose ``klippy.msgproto`` is the wire format. It makes a pty, links LINK to it, and plays a
board with steppers, end stops that close 0.4 s into a homing move, heaters (a first-order model) read through linear inputs
(500 C at full scale), digital and PWM outputs. Pins: h0..h7 heaters, t0..t7 their inputs, p0..p99 anything else.

SIGUSR1 is a firmware shutdown ("Simulated fault"); SIGUSR2 toggles silence (lost communication).
"""

import collections
import json
import os
import re
import select
import signal
import sys
import termios
import time
import tty
import zlib

from klippy import msgproto

FREQ, ADC_MAX, AMBIENT = 20_000_000, 4095, 22.0
PINS = {f"p{i}": i for i in range(100)} | {f"h{i}": 100 + i for i in range(8)} | {f"t{i}": 110 + i for i in range(8)}
COMMANDS = [
    "identify offset=%u count=%c",
    "get_uptime",
    "get_clock",
    "get_config",
    "allocate_oids count=%c",
    "finalize_config crc=%u",
    "emergency_stop",
    "clear_shutdown",
    "config_reset",
    "config_stepper oid=%c step_pin=%c dir_pin=%c invert_step=%c step_pulse_ticks=%u",
    "queue_step oid=%c interval=%u count=%hu add=%hi",
    "set_next_step_dir oid=%c dir=%c",
    "reset_step_clock oid=%c clock=%u",
    "stepper_get_position oid=%c",
    "stepper_stop_on_trigger oid=%c trsync_oid=%c",
    "config_endstop oid=%c pin=%c pull_up=%c",
    "endstop_home oid=%c clock=%u sample_ticks=%u sample_count=%c rest_ticks=%u pin_value=%c trsync_oid=%c trigger_reason=%c",
    "endstop_query_state oid=%c",
    "config_trsync oid=%c",
    "trsync_start oid=%c report_clock=%u report_ticks=%u expire_reason=%c",
    "trsync_set_timeout oid=%c clock=%u",
    "trsync_trigger oid=%c reason=%c",
    "config_digital_out oid=%c pin=%u value=%c default_value=%c max_duration=%u",
    "set_digital_out_pwm_cycle oid=%c cycle_ticks=%u",
    "update_digital_out oid=%c value=%c",
    "queue_digital_out oid=%c clock=%u on_ticks=%u",
    "config_pwm_out oid=%c pin=%u cycle_ticks=%u value=%hu default_value=%hu max_duration=%u",
    "queue_pwm_out oid=%c clock=%u value=%hu",
    "config_analog_in oid=%c pin=%u",
    "query_analog_in oid=%c clock=%u sample_ticks=%u sample_count=%c rest_ticks=%u"
    " min_value=%hu max_value=%hu range_check_count=%c",
]
RESPONSES = [
    "identify_response offset=%u data=%.*s",
    "uptime high=%u clock=%u",
    "clock clock=%u",
    "config is_config=%c crc=%u is_shutdown=%c move_count=%hu",
    "stepper_position oid=%c pos=%i",
    "endstop_state oid=%c homing=%c next_clock=%u pin_value=%c",
    "trsync_state oid=%c can_trigger=%c trigger_reason=%c clock=%u",
    "analog_in_state oid=%c next_clock=%u value=%hu",
    "shutdown clock=%u static_string_id=%hu",
    "is_shutdown static_string_id=%hu",
    "starting",
]
ids = {"identify_response offset=%u data=%.*s": 0, "identify offset=%u count=%c": 1}
for fmt in COMMANDS[1:] + RESPONSES[1:]:
    ids[fmt] = len(ids)
DICT = json.dumps(
    {
        "version": "simulated-1",
        "build_versions": "none",
        "app": "Kalico",
        "license": "GNU GPLv3",
        "commands": {f: ids[f] for f in COMMANDS},
        "responses": {f: ids[f] for f in RESPONSES},
        "enumerations": {"pin": PINS, "static_string_id": {"Command request": 1, "Simulated fault": 2}},
        "config": {"CLOCK_FREQ": FREQ, "ADC_MAX": ADC_MAX, "PWM_MAX": 255, "STATS_SUMSQ_BASE": 256, "MCU": "simulated"},
    }
).encode()
ZDICT = zlib.compress(DICT, 9)
P = msgproto.MessageParser()
P.process_identify(DICT, decompress=False)


def block(seq, cmd):
    """A message with its length, sequence number, checksum and sync byte."""
    head = bytes([5 + len(cmd), 0x10 | (seq & 15)]) + cmd
    return head + bytes(msgproto.crc16_ccitt(head)) + b"\x7e"


class Stepper:
    """Moves that klippy has queued: (interval, count, add, direction), by the board's clock."""

    def __init__(self):
        self.pos, self.q, self.dir, self.last, self.stopped, self.trsync = 0, collections.deque(), 1, 0, True, None

    def advance(self, now):
        while self.q:
            interval, count, add, d = self.q[0]
            total = count * interval + add * count * (count - 1) // 2
            if self.last + total <= now:
                self.q.popleft()
                self.last += total
                self.pos += d * count
                continue
            t, k, i = self.last, 0, interval
            while k < count and t + i <= now:
                t += i
                k += 1
                i += add
            if k:
                self.q[0] = (i, count - k, add, d)
                self.last = t
                self.pos += d * k
            return


class Board:
    """The firmware: blocks in, blocks out, acknowledged by sequence number."""

    def __init__(self, fd):
        self.fd, self.t0, self.seq, self.buf, self.silent = fd, time.monotonic(), 0, b"", False
        self.reset()

    def reset(self):
        self.crc, self.conf, self.shut = 0, False, 0
        self.step, self.end, self.trs, self.out, self.adc, self.temp = {}, {}, {}, {}, {}, {}
        self.tick = time.monotonic()

    def clock(self):
        return int((time.monotonic() - self.t0) * FREQ)

    def wide(self, c32, base):
        """A 32-bit clock of the host as a whole one near ``base``."""
        return base + ((c32 - base + 2**31) % 2**32 - 2**31)

    def send(self, name, **kw):
        if self.silent:
            return
        fmt = next(f for f in RESPONSES if f.split()[0] == name)
        cmd = bytes(bytearray(P.lookup_command(fmt).encode_by_name(**kw)))
        os.write(self.fd, block(self.seq, cmd))

    def ack(self):
        if not self.silent:
            os.write(self.fd, block(self.seq, b""))

    def feed(self, data):
        self.buf += data
        while self.buf:
            n = P.check_packet(self.buf)
            if not n:
                return
            if n < 0:
                i = self.buf.find(b"\x7e")
                self.buf = self.buf[i + 1 :] if i >= 0 else b""
                continue
            blk, self.buf = self.buf[:n], self.buf[n:]
            if blk[1] & 15 != self.seq & 15:
                self.ack()
                continue
            self.seq = (self.seq + 1) & 15
            pos = 2
            while pos < len(blk) - 3:
                mid, _ = P.msgid_parser.parse(blk, pos)
                m = P.messages_by_id.get(mid)
                if m is None:
                    break
                params, pos = m.parse(blk, pos)
                self.run(m.name, params)
            self.ack()

    def fault(self, code):
        self.shut = code
        self.send(
            "shutdown",
            clock=self.clock() & 0xFFFFFFFF,
            static_string_id="Simulated fault" if code == 2 else "Command request",
        )
        self.out = {k: dict(v, duty=0) for k, v in self.out.items()}

    def run(self, name, p):
        now = self.clock()
        oid = p.get("oid")
        if name == "identify":
            self.send("identify_response", offset=p["offset"], data=ZDICT[p["offset"] : p["offset"] + p["count"]])
        elif name == "get_uptime":
            self.send("uptime", high=now >> 32, clock=now & 0xFFFFFFFF)
        elif name == "get_clock":
            self.send("clock", clock=now & 0xFFFFFFFF)
        elif name == "get_config":
            self.send("config", is_config=self.conf, crc=self.crc, is_shutdown=bool(self.shut), move_count=1024)
        elif name == "finalize_config":
            self.crc, self.conf = p["crc"], True
        elif name == "emergency_stop":
            self.fault(1)
        elif name == "clear_shutdown":
            self.shut = 0
        elif name == "config_reset":
            self.reset()
        elif self.shut:
            self.send("is_shutdown", static_string_id="Command request")
        elif name == "config_stepper":
            self.step[oid] = Stepper()
        elif name == "reset_step_clock":
            s = self.step[oid]
            s.advance(now)
            s.q.clear()
            s.last, s.stopped = self.wide(p["clock"], now), False
        elif name == "set_next_step_dir":
            self.step[oid].dir = 1 if p["dir"] else -1
        elif name == "queue_step":
            s = self.step[oid]
            s.advance(now)
            if not s.stopped:
                s.q.append((p["interval"], p["count"], p["add"], s.dir))
        elif name == "stepper_get_position":
            s = self.step[oid]
            s.advance(now)
            self.send("stepper_position", oid=oid, pos=s.pos)
        elif name == "stepper_stop_on_trigger":
            self.step[oid].trsync = p["trsync_oid"]
        elif name == "config_endstop":
            self.end[oid] = {"homing": 0, "at": None, "next": 0}
        elif name == "endstop_home":
            e = self.end[oid]
            e["homing"] = 1 if p["sample_count"] else 0
            e.update(
                at=self.wide(p["clock"], now) + int(0.4 * FREQ) if e["homing"] else None,
                trs=p["trsync_oid"],
                why=p["trigger_reason"],
                pin=p["pin_value"],
            )
        elif name == "endstop_query_state":
            e = self.end[oid]
            self.send("endstop_state", oid=oid, homing=e["homing"], next_clock=e["next"] & 0xFFFFFFFF, pin_value=0)
        elif name == "config_trsync":
            self.trs[oid] = {"can": 0, "why": 0}
        elif name == "trsync_start":
            self.trs[oid] = {"can": 1, "why": 0}
        elif name == "trsync_trigger":
            self.trigger(oid, p["reason"])
            self.send(
                "trsync_state", oid=oid, can_trigger=0, trigger_reason=self.trs[oid]["why"], clock=now & 0xFFFFFFFF
            )
        elif name in ("config_digital_out", "config_pwm_out"):
            self.out[oid] = {"pin": p["pin"], "cycle": p.get("cycle_ticks", 0), "duty": float(p["value"] > 0)}
        elif name == "set_digital_out_pwm_cycle":
            self.out[oid]["cycle"] = p["cycle_ticks"]
        elif name == "update_digital_out":
            self.out[oid]["duty"] = float(p["value"])
        elif name == "queue_digital_out":
            o = self.out[oid]
            o["duty"] = min(1.0, p["on_ticks"] / o["cycle"]) if o["cycle"] else float(bool(p["on_ticks"]))
        elif name == "queue_pwm_out":
            self.out[oid]["duty"] = p["value"] / 255
        elif name == "config_analog_in":
            self.adc[oid] = {"pin": p["pin"], "on": 0}
        elif name == "query_analog_in":
            rest = p["rest_ticks"]
            self.adc[oid].update(on=p["sample_count"], rest=rest, n=p["sample_count"], next=self.wide(p["clock"], now))

    def trigger(self, trs, why):
        """Steppers of this sync stop where they are."""
        t = self.trs[trs]
        if not t["can"]:
            return
        t.update(can=0, why=why)
        now = self.clock()
        for s in self.step.values():
            if s.trsync == trs:
                s.advance(now)
                s.q.clear()
                s.stopped, s.trsync = True, None

    def poll(self):
        """Time goes on: heaters, end stops, readings that are due."""
        mono, now = time.monotonic(), self.clock()
        dt, self.tick = mono - self.tick, mono
        for o in self.out.values():
            m = re.fullmatch(r"h(\d)", str(o["pin"]))
            if m:
                t = self.temp.get(m[1], AMBIENT)
                self.temp[m[1]] = t + dt * (30.0 * o["duty"] - (t - AMBIENT) * 0.02)
        for e in self.end.values():
            if e["homing"] and now >= e["at"]:
                e["homing"], e["next"] = 0, now
                self.trigger(e["trs"], e["why"])
                self.send("trsync_state", oid=e["trs"], can_trigger=0, trigger_reason=e["why"], clock=now & 0xFFFFFFFF)
        for oid, a in self.adc.items():
            if a["on"] and now >= a["next"]:
                m = re.fullmatch(r"t(\d)", str(a["pin"]))
                temp = self.temp.get(m[1], AMBIENT) if m else AMBIENT
                a["next"] = max(a["next"] + a["rest"], now)
                self.send(
                    "analog_in_state",
                    oid=oid,
                    next_clock=a["next"] & 0xFFFFFFFF,
                    value=min(65535, int(temp / 500 * ADC_MAX * a["n"])),
                )


def main(link):
    m, s = os.openpty()
    for fd in (m, s):
        tty.setraw(fd, termios.TCSANOW)
    if os.path.islink(link):
        os.unlink(link)
    os.symlink(os.ttyname(s), link)
    b = Board(m)
    signal.signal(signal.SIGUSR1, lambda *_: b.fault(2))
    signal.signal(signal.SIGUSR2, lambda *_: setattr(b, "silent", not b.silent))
    print(f"pty={os.ttyname(s)} link={link}", flush=True)
    while True:
        if select.select([m], [], [], 0.01)[0]:
            b.feed(os.read(m, 4096))
        b.poll()


if __name__ == "__main__":
    main(sys.argv[1])
