# SPDX-License-Identifier: Apache-2.0
"""browser.py - a page in headless Chromium, driven through its debugging pipe.

    with Browser(profile) as browser:
        page = browser.open(url, width=360, height=740, dark=True, scripts=False)
        page.evaluate('document.title')
        page.complaints
        page.screenshot('/tmp/page.png')
"""
import base64
import json
import os
import shutil
import subprocess

PROGRAMS = 'chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'


def find_program():
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    def __init__(self, profile):
        # It reads commands from descriptor 3 and writes answers to 4.
        to_read, self.to_write = os.pipe()
        self.to_hear, to_answer = os.pipe()

        def place():
            for fd, wanted in ((os.dup(to_read), 3), (os.dup(to_answer), 4)):
                os.dup2(fd, wanted)

        # No sandbox, since tests may be root; nothing but the page is to be had in any case.
        self.process = subprocess.Popen(
            [find_program(), '--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe',
             '--disable-dev-shm-usage', '--no-first-run', f'--user-data-dir={profile}'],
            preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_answer)
        self.rest = b''
        self.number = 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call('Browser.close')
        except (EOFError, BrokenPipeError):
            pass
        self.process.wait()

    def hear(self):
        while b'\0' not in self.rest:
            more = os.read(self.to_hear, 1 << 20)
            if not more:
                raise EOFError('the browser has ended')
            self.rest += more
        message, self.rest = self.rest.split(b'\0', 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.number += 1
        request = {'id': self.number, 'method': method, 'params': params}
        if session:
            request['sessionId'] = session
        os.write(self.to_write, json.dumps(request).encode() + b'\0')
        while True:
            message = self.hear()
            if message.get('id') == self.number:
                if 'error' in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message['result']
            self.events.append(message)

    def wait_for(self, method, session):
        while True:
            for i, event in enumerate(self.events):
                if event.get('method') == method and event.get('sessionId') == session:
                    return self.events.pop(i)
            self.events.append(self.hear())

    def open(self, url, width, height, dark=False, scripts=True, paper=False):
        return Page(self, url, width, height, dark, scripts, paper)


class Page:
    def __init__(self, browser, url, width, height, dark, scripts, paper):
        self.browser = browser
        target = browser.call('Target.createTarget', url='about:blank')['targetId']
        self.session = browser.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in 'Page', 'Log', 'Runtime', 'Network':
            self.call(domain + '.enable')
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)
        self.call('Emulation.setEmulatedMedia', media='print' if paper else '', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.call('Emulation.setScriptExecutionDisabled', value=not scripts)
        self.call('Page.navigate', url=url)
        browser.wait_for('Page.loadEventFired', self.session)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def evaluate(self, expression):
        """The value of the expression, which is JSON."""
        result = self.call('Runtime.evaluate', expression=f'JSON.stringify({expression})')
        if 'exceptionDetails' in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return json.loads(result['result'].get('value', 'null'))

    def events(self, *methods):
        return [event for event in self.browser.events
                if event.get('sessionId') == self.session and event['method'] in methods]

    @property
    def complaints(self):
        """What the console has."""
        self.evaluate('0')  # and with it all that came before
        return self.events('Log.entryAdded', 'Runtime.exceptionThrown', 'Runtime.consoleAPICalled',
                           'Page.javascriptDialogOpening')

    @property
    def requests(self):
        """The addresses that were asked for."""
        self.evaluate('0')
        return [event['params']['request']['url'] for event in self.events('Network.requestWillBeSent')]

    def screenshot(self, path):
        size = self.call('Page.getLayoutMetrics')['cssContentSize']
        image = self.call('Page.captureScreenshot', captureBeyondViewport=True, clip={
            'x': 0, 'y': 0, 'width': size['width'], 'height': size['height'], 'scale': 1})
        with open(path, 'wb') as file:
            file.write(base64.b64decode(image['data']))
