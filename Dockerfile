# syntax=docker/dockerfile:1
# Two stages: the first installs by hash, the second holds Python, the installed packages and nothing that builds.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/quietnote
WORKDIR /src
COPY requirements.runtime.lock ./
RUN /opt/quietnote/bin/pip install --require-hashes -r requirements.runtime.lock
COPY pyproject.toml README.md ./
COPY config ./config
COPY bot ./bot
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && /opt/quietnote/bin/pip install --no-deps /wheels/*.whl \
    && /opt/quietnote/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/quietnote --create-home --shell /usr/sbin/nologin quietnote \
    && rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/lib/python3.11/site-packages/setuptools* \
              /usr/local/bin/pip*
COPY --from=build /opt/quietnote /opt/quietnote
ENV PATH=/opt/quietnote/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    QUIETNOTE_DATA_DIR=/var/lib/quietnote \
    QUIETNOTE_HOST=0.0.0.0
USER quietnote
VOLUME /var/lib/quietnote
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
ENTRYPOINT ["quietnote"]
CMD ["serve"]
