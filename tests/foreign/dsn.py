"""Reports as other programs read them: Python's email package and flufl.bounce, with the samples that the test class DsnTests writes."""
import email
import email.policy
import os
import subprocess
import sys
import tempfile

from flufl.bounce import all_failures

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FAILED, TEMPORARY = {b"r@b.example"}, set()


def tests_program():
    for configuration in ("Release", "Debug"):
        path = os.path.join(ROOT, "tests", "Mfrelay.Tests", "bin", configuration, "net10.0", "Mfrelay.Tests")
        if os.path.exists(path):
            return path
    sys.exit("tests/Mfrelay.Tests is not built")


def check(name, octets):
    """Every difference from what the sample must be, as a list of texts."""
    kind, language = name.removesuffix(".eml").split("-")
    wrong = []

    def expect(what, actual, wanted):
        if actual != wanted:
            wrong.append(f"{what}: {actual!r} instead of {wanted!r}")

    message = email.message_from_bytes(octets, policy=email.policy.default)
    defects = [str(defect) for part in message.walk() for defect in part.defects]
    expect("defects", defects, [])
    expect("To", str(message["To"]), "<s@a.example>" if "<" in str(message["To"]) else "s@a.example")
    expect("Auto-Submitted", message["Auto-Submitted"], "auto-replied")
    temporary, permanent = all_failures(message)
    if kind == "mfilter":
        text = message.get_content()
        for heading in ("-------server message", "-------SMTP command", "-------original mail info"):
            expect(heading, text.splitlines().count(heading), 1)
        expect("X-Mailer", message["X-Mailer"], "m-FILTER")
        expect("Subject", message["Subject"], "failure notice")
        return wrong
    expect("type", message.get_content_type(), "multipart/report")
    people, status, original = message.iter_parts()
    expect("text", "メール" in people.get_content(), language == "ja")
    groups = status.get_payload()
    expect("groups", len(groups), 3 if kind == "two" else 2)
    expect("Reporting-MTA", groups[0]["Reporting-MTA"], "dns; relay.example")
    expect("Action", groups[1]["Action"], kind if kind in ("delayed", "relayed") else "failed")
    expect("Final-Recipient", groups[1]["Final-Recipient"], "rfc822; r@b.example")
    expect("permanent", set(permanent), {"two": FAILED | {b"q@b.example"}, "delayed": set(), "relayed": set()}.get(kind, FAILED))
    expect("temporary", set(temporary), FAILED if kind == "delayed" else set())
    types = {"headers": "text/rfc822-headers", "global": "message/global"}
    expect("returned", original.get_content_type(), types.get(kind, "message/rfc822"))
    if kind in ("eightbit", "global"):
        expect("octets", "日本語".encode() in octets, True)
    return wrong


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([tests_program(), "-method", "*.Samples_for_foreign_parsers", "-noColor"], check=True,
                       stdout=subprocess.DEVNULL, env=os.environ | {"MFRELAY_DSN_SAMPLES": folder})
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                wrong = check(name, file.read())
            print(f"{'FAILED' if wrong else 'ok':7} {name}", *wrong, sep="\n          " if wrong else " ")
            passed, failed = passed + (not wrong), failed + bool(wrong)
    print(f"{passed} passed, {failed + (passed == 0)} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
