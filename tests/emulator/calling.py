"""Both hooks over an Airflow connection, called alike."""

from __future__ import annotations

import asyncio
import json
import uuid

from airflow_provider_journey.hooks.journey import JourneyAsyncHook, JourneyHook


def connect(monkeypatch, emulator, **extra):
    conn_id = f"journey_{uuid.uuid4().hex}"
    connection = {
        "conn_type": "journey",
        "login": emulator.client_id,
        "password": emulator.client_secret,
        "host": emulator.base_url,
        "extra": extra,
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    return conn_id


class Sync:
    def __init__(self, conn_id):
        self.conn_id = conn_id

    def call(self, name, /, *args, **kwargs):
        with JourneyHook(self.conn_id) as hook:
            return getattr(hook, name)(*args, **kwargs)

    def all(self, name, *args, **kwargs):
        with JourneyHook(self.conn_id) as hook:
            return list(getattr(hook, name)(*args, **kwargs))


class Async(Sync):
    def call(self, name, /, *args, **kwargs):
        async def work():
            async with JourneyAsyncHook(self.conn_id) as hook:
                return await getattr(hook, name)(*args, **kwargs)

        return asyncio.run(work())

    def all(self, name, *args, **kwargs):
        async def work():
            async with JourneyAsyncHook(self.conn_id) as hook:
                return [entity async for entity in getattr(hook, name)(*args, **kwargs)]

        return asyncio.run(work())
