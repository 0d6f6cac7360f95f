"""Connects and sends mail without a pause while a file exists: sender.py RECIPIENT FILE. Prints one line: "TRIED REFUSED ACKNOWLEDGED", where
refused is a connection that nobody took. A session that hears 421 tries again, as a mail server does; only what got its 250 counts."""
import os
import smtplib
import sys
import time

recipient, running = sys.argv[1:]
tried = refused = acknowledged = 0
while os.path.exists(running):
    tried += 1
    try:
        with smtplib.SMTP("127.0.0.1", 25, "sender.test", timeout=30) as session:
            session.sendmail("sender@example.org", [recipient], f"Subject: {tried}\r\n\r\nload-{os.getpid()}-{tried}\r\n")
            acknowledged += 1
    except ConnectionRefusedError:
        refused += 1
    except (smtplib.SMTPException, ConnectionError):
        pass        # 421: the service ends
    time.sleep(0.01)
print(tried, refused, acknowledged)
