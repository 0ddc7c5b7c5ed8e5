// Entry point. The workers come first, because Monaco needs them as soon as it loads.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './style.css';
import { createRoot } from 'react-dom/client';
import { App } from './app.jsx';
import { readLink } from './link.js';
import { takeTokenFromAddress } from './session.js';

takeTokenFromAddress();
window.addEventListener('hashchange', takeTokenFromAddress);
const { link, problem } = readLink(window.location.search);
createRoot(document.getElementById('root')).render(<App link={link} linkProblem={problem} />);
