"""What is found on the network and on USB, from bytes and names that anybody may send."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.adding import QUESTIONS, table
from printfarm_agent.discovery import Finding, from_port, from_service, from_ssdp

NOTIFY = (
    b"NOTIFY * HTTP/1.1\r\nHost: 239.255.255.250:1990\r\nServer: UPnP/1.0\r\nLocation: 192.168.1.31\r\n"
    b"NT: urn:bambulab-com:device:3dprinter:1\r\nUSN: 01S00C123456789\r\nDevModel.bambu.com: C12\r\n"
    b"DevName.bambu.com: Left one\r\nDevConnect.bambu.com: lan\r\n\r\n"
)


def test_a_bambu_printer_announces_itself() -> None:
    found = Finding("bambu", "P1S Left one", (("host", "192.168.1.31"), ("serial_number", "01S00C123456789")))
    assert from_ssdp(NOTIFY) == found and found.where == "192.168.1.31"


def test_other_announcements_and_nonsense_are_none() -> None:
    assert from_ssdp(NOTIFY.replace(b"bambulab-com:device:3dprinter", b"schemas-upnp-org:device:tv")) is None
    assert from_ssdp(NOTIFY.replace(b"192.168.1.31", b"$(reboot)")) is None
    assert from_ssdp(NOTIFY.replace(b"01S00C123456789", b"../../etc")) is None
    assert from_ssdp(NOTIFY + b"x" * 9000) is None


@given(st.binary(max_size=300))
def test_any_datagram_is_read(datagram: bytes) -> None:
    from_ssdp(datagram)
    found = from_ssdp(NOTIFY[:-2] + datagram)
    assert found is None or found.name.isprintable()


def test_services() -> None:
    kind = "_octoprint._tcp.local."
    found = from_service(kind, f"OctoPrint on pi.{kind}", ["fe80::1", "10.0.0.7"], 5000)
    assert found == Finding("octoprint", "OctoPrint on pi", (("url", "http://10.0.0.7:5000"),))
    assert from_service(kind, "a", ["10.0.0.7"], 80) == Finding("octoprint", "a", (("url", "http://10.0.0.7"),))
    assert from_service(kind, "a", [], 80) is None
    assert from_service("_ipp._tcp.local.", "a", ["10.0.0.7"], 80) is None


def test_ports_by_their_lasting_names() -> None:
    found = from_port("/dev/serial/by-id/usb-Prusa_Research_MK3-if00")
    assert found == Finding(
        "marlin", "Prusa_Research_MK3-if00", (("port", "/dev/serial/by-id/usb-Prusa_Research_MK3-if00"),)
    )


def test_every_question_is_an_option_and_the_table_is_toml() -> None:
    assert all(question.key and question.words for questions in QUESTIONS.values() for question in questions)
    text = table("mk4-1", "prusalink", {"url": 'http://a"b', "n": 3})
    (printer,) = tomllib.loads(text)["printer"]
    assert printer == {"id": "mk4-1", "driver": "prusalink", "options": {"url": 'http://a"b', "n": 3}}
