// Before the first paint, so that a page in the dark does not flash: everything else waits for the modules.
try {
  const theme = localStorage.getItem('hegemon.theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch { /* storage is forbidden: the system's theme it is */ }
